// SPDX-License-Identifier: Apache-2.0
#include "core/run/attack_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/base/torch.h"
#include "core/run/evaluate.h"
#include "core/run/evaluation.h"
#include "tests/support/torch/memory_run_context.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using testing::ToyBatch;

constexpr ModelShape kShape{1, 8, 8, 5};

v1::AttackEntry Entry(v1::PluginSpec attack, double epsilon) {
  v1::AttackEntry entry;
  *entry.mutable_attack() = std::move(attack);
  entry.mutable_threat()->set_norm(v1::LINF);
  entry.mutable_threat()->set_epsilon(epsilon);
  return entry;
}

v1::PluginSpec Composite() {
  v1::PluginSpec spec;
  spec.set_name("autoattack");
  auto& params = *spec.mutable_params()->mutable_fields();
  params["version"].set_string_value("custom");
  auto& stages = *params["attacks"].mutable_list_value();
  stages.add_values()->set_string_value("apgd_ce:steps=7");
  stages.add_values()->set_string_value("pgd:steps=5,restarts=2");
  return spec;
}

std::vector<AttackInstance> Instances() {
  google::protobuf::RepeatedPtrField<v1::AttackEntry> entries;
  *entries.Add() = Entry(Plugin("fgsm"), 0.01);
  *entries.Add() = Entry(Composite(), 0.02);
  return *MakeInstances(entries, kShape);
}

std::string Bytes(const EvaluationResult& result) {
  std::string bytes = absl::StrCat(result.forwards, " ", result.backwards, " ", result.padded_rows);
  for (const v1::SampleOutcome& outcome : result.outcomes) bytes += outcome.DebugString();
  for (const InstanceOutcome& one : result.instances) {
    absl::StrAppend(&bytes, one.attacked, " ", one.broken, " ", one.broken_first, " ", one.forwards,
                    " ", one.backwards, " ", one.padded_rows, " ", one.zero_grads, "\n");
  }
  for (const at::Tensor& image : result.images) {
    if (image.defined()) bytes.append(static_cast<const char*>(image.data_ptr()), image.nbytes());
  }
  return bytes;
}

// One run on a model that is told to stop at its `stop_at`th call (0: never).
class JournalTest : public ::testing::Test {
 protected:
  absl::StatusOr<EvaluationResult> Run(int64_t stop_at, const std::string& hash = "a") {
    testing::CountingModel model(*toy_);
    const RunControl control([&] { return stop_at > 0 && model.calls >= stop_at; });
    AttackJournal journal(hash, [this](int64_t, absl::string_view bytes) {
      saved_ = std::string(bytes);
      return absl::OkStatus();
    });
    if (!saved_.empty()) {
      const absl::Status restored = journal.Restore(FileView::Own(saved_));
      if (!restored.ok()) return restored;
    }
    EvaluationOptions options;
    options.compute_batch = 8;
    options.batch_size = 11;
    options.keep_images = true;
    options.journal = &journal;
    try {
      return RunEvaluation(model, SamplesOf(batch_), instances_, options, control);
    } catch (const Stopped&) {
      return absl::CancelledError("");
    }
  }

  const testing::ToyPointer toy_ = testing::ToyMlp(kShape);
  const Batch batch_ = ToyBatch(*toy_, 47);
  const std::vector<AttackInstance> instances_ = Instances();
  std::string saved_;
};

TEST_F(JournalTest, AResumeGivesTheSameResultToTheBit) {
  const EvaluationResult whole = *Run(0);
  EXPECT_GT(whole.instances[0].broken, 2);
  EXPECT_GT(whole.instances[1].broken, 2);
  EXPECT_EQ(whole.work_repeated, 0);
  for (int64_t stop_at = 1; stop_at < 100; stop_at += 5) {
    saved_.clear();
    ASSERT_TRUE(absl::IsCancelled(Run(stop_at).status())) << stop_at;
    const auto resumed = Run(0);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_EQ(Bytes(*resumed), Bytes(whole)) << stop_at;
    if (stop_at > 20) {
      EXPECT_GE(resumed->work_repeated, 47);
    }
  }
}

TEST_F(JournalTest, ManyStopsInOneRunChangeNothing) {
  const EvaluationResult whole = *Run(0);
  saved_.clear();
  int stops = 0;
  absl::StatusOr<EvaluationResult> result = Run(50);
  while (absl::IsCancelled(result.status()) && ++stops < 100) result = Run(50);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT(stops, 1);
  EXPECT_EQ(Bytes(*result), Bytes(whole));
}

TEST_F(JournalTest, RefusesTheRecordsOfAnotherConfiguration) {
  ASSERT_TRUE(absl::IsCancelled(Run(60).status()));
  const absl::Status refused = Run(0, "b").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("another configuration"));
}

TEST_F(JournalTest, TellsThatItCannotBeRead) {
  ASSERT_TRUE(absl::IsCancelled(Run(60).status()));
  saved_.resize(saved_.size() - 1);
  EXPECT_EQ(Run(0).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(JournalTest, DoesNotBelieveRecordsOfOtherSamples) {
  ASSERT_TRUE(absl::IsCancelled(Run(60).status()));
  AttackJournal journal("a", [](int64_t, absl::string_view) { return absl::OkStatus(); });
  BatchRecord wrong;
  wrong.samples.resize(1);
  wrong.samples[0].position = 46;
  ASSERT_TRUE(journal.Append(wrong).ok());
  EvaluationOptions options;
  options.journal = &journal;
  const auto result = RunEvaluation(*toy_, SamplesOf(batch_), instances_, options, {});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDataLoss);
}

v1::AttackSpec ShapesSpec() {
  v1::AttackSpec spec;
  spec.mutable_data()->mutable_builtin()->set_name("shapes");
  spec.mutable_data()->set_end(24);
  *spec.add_attacks() = Entry(Plugin("fgsm"), 0.05);
  *spec.add_attacks() = Entry(Composite(), 0.05);
  spec.set_batch_size(8);
  spec.set_compute_batch(8);
  spec.add_seeds(0);
  spec.add_seeds(1);
  return spec;
}

MemoryRunContext ShapesContext() {
  MemoryRunContext context;
  context.UseBuiltin("data", Plugin("shapes"));
  const auto input = context.data("data");
  const auto dataset = MakePlugin<Dataset>(input->reader, input->files);
  const DatasetInfo& info = (*dataset)->info();
  context.UseFreshModel(Plugin("mini_gap"),
                        {info.channels, info.height, info.width, info.num_classes});
  return context;
}

std::string ReportBytes(v1::AttackReport report, const MemoryRunContext& context) {
  report.clear_seconds();
  report.clear_final_check_seconds();
  report.clear_work_repeated();
  for (v1::AttackBlock& block : *report.mutable_attacks()) block.clear_seconds();
  return report.DebugString() + context.FindArtifact("sample_table")->bytes;
}

TEST(AttackJob, ReportsTheSameAfterAStop) {
  MemoryRunContext whole = ShapesContext();
  v1::AttackReport reference;
  ASSERT_TRUE(Evaluate(ShapesSpec(), whole, reference).ok());
  EXPECT_EQ(reference.seeds_size(), 2);
  EXPECT_EQ(reference.work_repeated(), 0);
  for (const int64_t ticks : {int64_t{3}, whole.ticks / 4, whole.ticks / 2, whole.ticks - 2}) {
    MemoryRunContext first = ShapesContext();
    first.stop = [&] { return first.ticks >= ticks; };
    v1::AttackReport none;
    EXPECT_THROW(Evaluate(ShapesSpec(), first, none).IgnoreError(), Stopped) << ticks;
    MemoryRunContext second = ShapesContext();
    if (!first.checkpoints.empty()) {
      second.resume_file = FileView::Own(first.checkpoints.back().bytes);
    }
    v1::AttackReport report;
    const absl::Status status = Evaluate(ShapesSpec(), second, report);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(ReportBytes(report, second), ReportBytes(reference, whole)) << ticks;
    if (ticks >= whole.ticks / 2) {
      EXPECT_GE(report.work_repeated(), 24);
    }
  }
}

TEST(AttackJob, DropsAJournalThatCannotBeReadAndSaysSo) {
  MemoryRunContext context = ShapesContext();
  context.resume_file = FileView::Own("nothing of use");
  v1::AttackReport report;
  const absl::Status status = Evaluate(ShapesSpec(), context, report);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(context.Warned("JOURNAL_DROPPED"));
}

}  // namespace
}  // namespace adamant
