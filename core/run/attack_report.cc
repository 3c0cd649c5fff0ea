// SPDX-License-Identifier: Apache-2.0
#include "core/run/attack_report.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "common/sha256.h"
#include "core/base/statistics.h"

namespace adamant {
namespace {

// Samples that are correct on clean input and not broken by `outcome`.
int64_t RobustCount(const EvaluationResult& result, const InstanceOutcome& outcome) {
  int64_t count = 0;
  for (size_t i = 0; i < result.outcomes.size(); ++i) {
    const v1::SampleState state = result.outcomes[i].state();
    count += (state == v1::ROBUST || state == v1::BROKEN) && !outcome.broken_at[i];
  }
  return count;
}

v1::AttackBlock MakeBlock(const EvaluationResult& result, const AttackInstance& instance,
                          const InstanceOutcome& outcome, const v1::AttackSpec& spec,
                          int64_t num_classes) {
  v1::AttackBlock block;
  block.set_position(instance.position);
  *block.mutable_attack() = instance.spec;
  *block.mutable_threat() = instance.given;
  block.set_name(instance.name);
  const v1::Accuracy accuracy =
      MakeAccuracy(RobustCount(result, outcome), static_cast<int64_t>(result.outcomes.size()),
                   ConfidenceZ(spec));
  // The stages of one entry are a cascade by themselves.
  const bool cascade = !spec.has_cascade() || spec.cascade();
  if ((cascade && !instance.no_ball) || instance.stage >= 0) {
    *block.mutable_after_accuracy() = accuracy;
  }
  if ((!cascade || instance.no_ball) && instance.last_stage) {
    *block.mutable_alone_accuracy() = accuracy;
  }
  block.set_broken_first(outcome.broken_first);
  block.set_extra_forwards(outcome.extra_forwards);
  block.set_attacked(outcome.attacked);
  block.set_broken(outcome.broken);
  block.set_rejected_claims(outcome.rejected_claims);
  block.set_forwards(outcome.forwards);
  block.set_backwards(outcome.backwards);
  block.set_padded_rows(outcome.padded_rows);
  block.set_zero_grads(outcome.zero_grads);
  block.set_nonfinite_grads(outcome.nonfinite_grads);
  block.set_nonfinite_logits(outcome.nonfinite_logits);
  block.set_seconds(outcome.seconds);
  for (const std::string& note : instance.attack->Notes(num_classes)) block.add_notes(note);
  return block;
}

struct ClassCount {
  int64_t total = 0;
  int64_t clean = 0;
  int64_t robust = 0;
  std::map<int32_t, int64_t> adversarial;  // predictions of broken samples
};

int32_t MostFrequent(const std::map<int32_t, int64_t>& counts) {
  int32_t best = -1;
  int64_t most = 0;
  for (const auto& [prediction, count] : counts) {
    if (count > most) best = prediction;
    most = std::max(most, count);
  }
  return best;
}

void FillClasses(const EvaluationResult& result, double z, v1::AttackReport& report) {
  std::map<int32_t, ClassCount> classes;
  for (const v1::SampleOutcome& outcome : result.outcomes) {
    ClassCount& count = classes[outcome.label()];
    ++count.total;
    count.clean += outcome.state() == v1::ROBUST || outcome.state() == v1::BROKEN;
    count.robust += outcome.state() == v1::ROBUST;
    if (outcome.state() == v1::BROKEN) ++count.adversarial[outcome.adv_pred()];
  }
  for (const auto& [label, count] : classes) {
    v1::ClassBlock* block = report.add_classes();
    block->set_label(label);
    *block->mutable_clean_accuracy() = MakeAccuracy(count.clean, count.total, z);
    *block->mutable_robust_accuracy() = MakeAccuracy(count.robust, count.total, z);
    block->set_most_frequent_adv_pred(MostFrequent(count.adversarial));
  }
}

template <class Message>
void AppendDeterministic(const Message& message, std::string& out) {
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
}

}  // namespace

double ConfidenceZ(const v1::AttackSpec& spec) {
  return spec.has_confidence_level() ? NormalQuantile(spec.confidence_level()) : kZ95;
}

void FillReport(const EvaluationResult& result, const std::vector<AttackInstance>& instances,
                const v1::AttackSpec& spec, int64_t num_classes, v1::AttackReport& report) {
  const auto n = static_cast<int64_t>(result.outcomes.size());
  const double z = ConfidenceZ(spec);
  int64_t clean = 0;
  int64_t robust = 0;
  for (const v1::SampleOutcome& outcome : result.outcomes) {
    const v1::SampleState state = outcome.state();
    clean += state == v1::ROBUST || state == v1::BROKEN;
    robust += state == v1::ROBUST;
    report.set_error_count(report.error_count() + (state == v1::ERROR));
    report.set_fragile(report.fragile() + outcome.fragile());
    report.set_broken_8bit(report.broken_8bit() + outcome.broken_8bit());
  }
  report.set_num_samples(n);
  *report.mutable_clean_accuracy() = MakeAccuracy(clean, n, z);
  *report.mutable_robust_accuracy() = MakeAccuracy(robust, n, z);
  report.set_robust_of_correct_ratio(
      clean > 0 ? static_cast<double>(robust) / static_cast<double>(clean) : 0);
  for (size_t i = 0; i < instances.size(); ++i) {
    *report.add_attacks() = MakeBlock(result, instances[i], result.instances[i], spec, num_classes);
    if (const int64_t empty = result.instances[i].empty_maps; empty > 0) {
      report.add_notes(absl::StrCat(instances[i].name, ": the clean map of ", empty,
                                    " samples is 0 everywhere, there is no attention to move"));
    }
  }
  FillClasses(result, z, report);
  report.set_compute_batch(static_cast<int32_t>(result.compute_batch));
  for (const std::string& note : result.notes) report.add_notes(note);
  report.set_work_repeated(result.work_repeated);
  report.set_forwards(result.forwards);
  report.set_backwards(result.backwards);
  report.set_padded_rows(result.padded_rows);
  report.set_final_check_seconds(result.final_check_seconds);
}

std::string SelectionText(const std::vector<int64_t>& ids) {
  if (ids.empty()) return "no ids";
  const auto count = static_cast<int64_t>(ids.size());
  bool consecutive = true;
  for (int64_t i = 1; i < count; ++i) consecutive &= ids[i] == ids[i - 1] + 1;
  if (consecutive) return absl::StrCat("ids ", ids.front(), "..", ids.back());
  const auto [low, high] = std::minmax_element(ids.begin(), ids.end());
  return absl::StrCat(count, " ids from ", *low, " to ", *high);
}

std::string ConfigHash(const v1::AttackSpec& spec, const std::vector<AttackInstance>& instances,
                       const v1::AttackReport& report) {
  std::string bytes;
  for (const AttackInstance& instance : instances) {
    AppendDeterministic(instance.spec, bytes);
    AppendDeterministic(instance.given, bytes);
  }
  AppendDeterministic(spec.data(), bytes);
  AppendDeterministic(spec.stop(), bytes);
  AppendDeterministic(spec.adversarial_set(), bytes);
  for (const uint64_t seed : spec.seeds()) absl::StrAppend(&bytes, "|", seed);
  absl::StrAppend(&bytes, "|", report.seed(), "|", static_cast<int>(spec.mode()), "|",
                  !spec.has_cascade() || spec.cascade(), "|", report.compute_batch(), "|",
                  spec.search_precision() == "bf16" ? "bf16|" : "", report.model_sha256(), "|",
                  report.data_digest(), "|", report.split());
  return Sha256Hex(bytes);
}

}  // namespace adamant
