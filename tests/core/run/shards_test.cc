// SPDX-License-Identifier: Apache-2.0
#include "core/run/shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "core/base/torch.h"
#include "core/models/safetensors.h"
#include "core/run/evaluate.h"
#include "tests/support/torch/memory_run_context.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

constexpr int kSamples = 37;

v1::AttackSpec Spec(const std::vector<v1::PluginSpec>& attacks) {
  v1::AttackSpec spec;
  spec.mutable_data()->mutable_builtin()->set_name("shapes");
  spec.mutable_data()->set_begin(3);
  spec.mutable_data()->set_end(3 + kSamples);
  spec.add_seeds(7);
  for (const v1::PluginSpec& attack : attacks) {
    v1::AttackEntry& entry = *spec.add_attacks();
    *entry.mutable_attack() = attack;
    entry.mutable_threat()->set_norm(v1::LINF);
    entry.mutable_threat()->set_epsilon(0.3);
  }
  return spec;
}

v1::AttackSpec TwoAttacks() {
  return Spec({Plugin("fgsm"), Plugin("pgd", {{"steps", 4}, {"restarts", 2}})});
}

MemoryRunContext Context() {
  MemoryRunContext context;
  context.UseBuiltin("data", Plugin("shapes"));
  const auto input = context.data("data");
  const DatasetInfo info = (*MakePlugin<Dataset>(input->reader, input->files))->info();
  context.UseFreshModel(Plugin("mini_gap"),
                        {info.channels, info.height, info.width, info.num_classes});
  return context;
}

// A report, the bytes of its sample table, and the images where they are asked for.
struct Outcome {
  v1::AttackReport report;
  std::string samples;
  at::Tensor images;
};

absl::StatusOr<Outcome> RunAttack(const v1::AttackSpec& spec, MemoryRunContext& context) {
  Outcome out;
  if (const absl::Status status = Evaluate(spec, context, out.report); !status.ok()) return status;
  out.samples = context.FindArtifact("sample_table")->bytes;
  if (const auto* set = context.FindArtifact("adversarial_examples"); set != nullptr) {
    out.images = ParseSafetensors(FileView::Own(set->bytes))->tensors.at("x_adv").clone();
  }
  return out;
}

// Without what depends on the clock (a set of images has a date) and on how full the calls were.
std::string Comparable(v1::AttackReport report) {
  report.clear_adversarial_examples();
  report.clear_seconds();
  report.clear_final_check_seconds();
  report.clear_padded_rows();
  for (v1::AttackBlock& block : *report.mutable_attacks()) {
    block.clear_seconds();
    block.clear_padded_rows();
  }
  return report.DebugString();
}

// Records of every shard of `spec`.
std::vector<std::string> RunShards(v1::AttackSpec spec, int count) {
  std::vector<std::string> records;
  for (int i = 0; i < count; ++i) {
    MemoryRunContext context = Context();
    spec.mutable_shard()->set_index(i);
    spec.mutable_shard()->set_count(count);
    const absl::StatusOr<Outcome> out = RunAttack(spec, context);
    EXPECT_TRUE(out.ok()) << out.status();
    EXPECT_EQ(out->report.verdict(), v1::UNCHECKED);
    EXPECT_TRUE(out->report.checks().empty());
    EXPECT_THAT(out->report.selection(), HasSubstr(ShardText(spec.shard())));
    records.push_back(context.FindArtifact("shard_records")->bytes);
  }
  return records;
}

absl::StatusOr<Outcome> Merge(v1::AttackSpec spec, const std::vector<std::string>& records) {
  MemoryRunContext context = Context();
  for (const std::string& bytes : records) {
    spec.add_shard_records()->set_sha256("given");
    context.inputs["shard_records"].files.push_back({"", FileView::Own(bytes)});
  }
  return RunAttack(spec, context);
}

std::string Refusal(const v1::AttackSpec& spec, const std::vector<std::string>& records) {
  const absl::Status status = Merge(spec, records).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

void ExpectMergesToTheWhole(const v1::AttackSpec& spec, int count) {
  MemoryRunContext context = Context();
  const Outcome whole = *RunAttack(spec, context);
  EXPECT_LT(whole.report.robust_accuracy().correct(), whole.report.clean_accuracy().correct());
  std::vector<std::string> records = RunShards(spec, count);
  std::reverse(records.begin(), records.end());
  const absl::StatusOr<Outcome> merged = Merge(spec, records);
  ASSERT_TRUE(merged.ok()) << merged.status();
  EXPECT_EQ(Comparable(merged->report), Comparable(whole.report));
  EXPECT_EQ(merged->samples, whole.samples);
  if (whole.images.defined()) {
    EXPECT_TRUE(at::equal(merged->images, whole.images));
  }
}

TEST(Shards, MergeToTheReportOfAnEvaluationInOnePiece) {
  for (const int count : {2, 3}) ExpectMergesToTheWhole(TwoAttacks(), count);
}

TEST(Shards, MergeSeveralSeedsEpsilonsAndImages) {
  v1::AttackSpec spec = TwoAttacks();
  spec.add_seeds(8);
  spec.add_outputs(v1::SAMPLE_TABLE);
  spec.add_outputs(v1::ADVERSARIAL_EXAMPLES);
  spec.mutable_attacks(1)->add_epsilons(0.1);
  spec.mutable_attacks(1)->add_epsilons(0.4);
  ExpectMergesToTheWhole(spec, 2);
}

TEST(Shards, MergeAttacksThatSeeEverySampleAndSearchesForDistances) {
  v1::AttackSpec spec = TwoAttacks();
  spec.set_cascade(false);
  ExpectMergesToTheWhole(spec, 3);
  spec = Spec({Plugin("deepfool")});
  spec.mutable_attacks(0)->mutable_threat()->set_norm(v1::L2);
  spec.mutable_attacks(0)->mutable_threat()->clear_epsilon();
  spec.set_mode(v1::MIN_NORM);
  ExpectMergesToTheWhole(spec, 2);
}

TEST(Shards, MayOutnumberTheSamples) {
  v1::AttackSpec spec = TwoAttacks();
  spec.mutable_data()->set_end(23);
  ExpectMergesToTheWhole(spec, 24);
}

TEST(Shards, SayWhereCohortsWereDivided) {
  v1::AttackSpec spec = Spec({Plugin("portfolio", {{"passes", 100}})});
  const Outcome merged = *Merge(spec, RunShards(spec, 2));
  EXPECT_THAT(merged.report.notes(), ::testing::Contains(HasSubstr("samples of one shard")));
}

TEST(Shards, AreMergedOnlyWhenAllAreThere) {
  const std::vector<std::string> records = RunShards(TwoAttacks(), 3);
  EXPECT_THAT(Refusal(TwoAttacks(), {records[0], records[1]}), HasSubstr("2 files, but one is"));
  EXPECT_THAT(Refusal(TwoAttacks(), {records[0], records[1], records[1]}),
              HasSubstr("shard 3 of 3 is missing"));
  EXPECT_THAT(Refusal(TwoAttacks(), {records[0], "no safetensors"}), HasSubstr("shard_records: "));
  std::string cut = records[2];
  cut.resize(cut.size() / 2);
  EXPECT_THAT(Refusal(TwoAttacks(), {records[0], records[1], cut}), HasSubstr("shard_records: "));
}

TEST(Shards, AreMergedOnlyIntoTheirOwnEvaluation) {
  const std::vector<std::string> records = RunShards(TwoAttacks(), 2);
  v1::AttackSpec other = TwoAttacks();
  other.set_seeds(0, 8);
  EXPECT_THAT(Refusal(other, records), HasSubstr("shard 1 of 2 was run with another model"));
  other = TwoAttacks();
  other.mutable_data()->set_end(30);
  EXPECT_THAT(Refusal(other, records), HasSubstr("another model, data"));
  v1::AttackSpec rows = TwoAttacks();
  rows.set_compute_batch(16);
  EXPECT_THAT(Refusal(TwoAttacks(), {records[0], RunShards(rows, 2)[1]}),
              HasSubstr("compute_batch 16"));
}

// Found images are verified again: what a file claims is no result.
TEST(Shards, ClaimsAreVerifiedAgain) {
  std::vector<std::string> records = RunShards(TwoAttacks(), 2);
  int64_t images = 0;
  for (std::string& bytes : records) {
    const Safetensors parsed = *ParseSafetensors(FileView::Own(bytes));
    std::map<std::string, at::Tensor> tensors = parsed.tensors;
    images += tensors["images"].size(0);
    tensors["images"] = at::full_like(tensors["images"], 0.5);
    bytes = WriteSafetensors(tensors, parsed.metadata);
  }
  ASSERT_GT(images, 0);
  const absl::Status status = Merge(TwoAttacks(), records).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("final check"));
}

TEST(Shards, RefuseWhatLooksAtAllSamples) {
  const auto message = [](v1::AttackSpec spec) {
    spec.mutable_shard()->set_count(2);
    MemoryRunContext context = Context();
    const absl::Status status = RunAttack(spec, context).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(message(Spec({Plugin("uap")})), HasSubstr("uap looks at all samples together"));
  v1::AttackSpec spec = TwoAttacks();
  spec.mutable_stop()->set_seconds(9);
  EXPECT_THAT(message(spec), HasSubstr("stop: "));
  spec = TwoAttacks();
  spec.mutable_shard()->set_index(2);
  EXPECT_THAT(message(spec), HasSubstr("index 2 of 2 does not exist"));
}

}  // namespace
}  // namespace adamant
