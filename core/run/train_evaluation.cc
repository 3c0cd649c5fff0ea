// SPDX-License-Identifier: Apache-2.0
#include "core/run/train_evaluation.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/attacks/victim.h"
#include "core/base/statistics.h"

namespace adamant {
namespace {

bool CleanCorrect(const v1::SampleOutcome& outcome) {
  return outcome.state() != v1::CLEAN_WRONG && outcome.state() != v1::ERROR;
}

double LargestClassShare(const std::vector<v1::SampleOutcome>& outcomes, int64_t classes) {
  std::vector<int64_t> counts(classes, 0);
  for (const v1::SampleOutcome& outcome : outcomes) {
    if (outcome.clean_pred() >= 0 && outcome.clean_pred() < classes) ++counts[outcome.clean_pred()];
  }
  return static_cast<double>(*std::max_element(counts.begin(), counts.end())) /
         static_cast<double>(outcomes.size());
}

}  // namespace

absl::StatusOr<TrainMeasurement> MeasureInTraining(Model& model, const DataSlice& slice,
                                                   std::vector<AttackInstance> attacks,
                                                   uint64_t seed, int64_t epoch,
                                                   const std::string& device,
                                                   const RunControl& control) {
  for (AttackInstance& attack : attacks) {
    attack.stream = absl::StrCat("eval_attack:", attack.spec.name(), ":", epoch);
  }
  const FrozenModel frozen(model);
  EvaluationOptions options;
  options.seed = seed;
  options.cascade = false;
  options.device = device;
  ASSIGN_OR_RETURN(const EvaluationResult result,
                   RunEvaluation(model, SamplesOf(slice), attacks, options, control));
  const auto& outcomes = result.outcomes;
  const auto total = static_cast<int64_t>(outcomes.size());
  TrainMeasurement out;
  out.clean_accuracy =
      MakeAccuracy(std::count_if(outcomes.begin(), outcomes.end(), CleanCorrect), total);
  out.largest_class_share = LargestClassShare(outcomes, model.info().shape.num_classes);
  for (size_t i = 0; i < attacks.size(); ++i) {
    int64_t robust = 0;
    for (int64_t s = 0; s < total; ++s) {
      robust += CleanCorrect(outcomes[s]) && !result.instances[i].broken_at[s] ? 1 : 0;
    }
    v1::NamedAccuracy named;
    named.set_name(attacks[i].name);
    *named.mutable_accuracy() = MakeAccuracy(robust, total);
    out.robust_accuracy.push_back(std::move(named));
  }
  return out;
}

}  // namespace adamant
