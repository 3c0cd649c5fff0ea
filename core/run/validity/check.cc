// SPDX-License-Identifier: Apache-2.0
#include "core/run/validity/check.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/run/validity/verdict.h"

namespace adamant::validity {

absl::Status Unmeasured(const std::string& why) { return absl::FailedPreconditionError(why); }
absl::Status OnlyInFull() { return Unmeasured("runs with depth full"); }

Finding Passes(const Numbers& numbers) {
  return {v1::ValidityCheck::PASS, v1::ValidityCheck::SEVERITY_UNSPECIFIED,
          numbers.value,           numbers.threshold,
          numbers.samples,         ""};
}

Finding Fails(v1::ValidityCheck::Severity severity, const Numbers& numbers, std::string text) {
  return {v1::ValidityCheck::FAIL, severity,        numbers.value,
          numbers.threshold,       numbers.samples, std::move(text)};
}

Finding NotRun(const std::string& why) {
  Finding out;
  out.text = why;
  return out;
}

const std::vector<Check>& AllChecks() {
  static const std::vector<Check> kChecks = {
      {"V01", "input_range", true, false, kError, InputRange},
      {"V02", "logits_not_probabilities", true, false, kWarning, LogitsNotProbabilities},
      {"V03", "deterministic_forward", true, false, kWarning, DeterministicForward},
      {"V04", "batch_invariance", true, false, kError, BatchInvariance},
      {"V05", "static_model", true, false, kWarning, StaticModel},
      {"V06", "zero_gradient", true, false, kWarning, ZeroGradient},
      {"V07", "finite_values", true, false, kWarning, FiniteValues},
      {"V08", "class_count", true, false, kInfo, ClassCount},
      {"V09", "clean_accuracy", true, false, kWarning, CleanAccuracy},
      {"V10", "epsilon_bound", true, false, kError, EpsilonBound},
      {"V11", "travel_limit", false, false, kWarning, TravelLimit},
      {"V12", "iterative_vs_one_step", true, false, kWarning, IterativeVsOneStep},
      {"V13", "white_vs_black", true, false, kWarning, WhiteVsBlack},
      {"V14", "square_helps", true, false, kWarning, SquareHelps},
      {"V15", "random_search", false, true, kWarning, RandomSearch},
      {"V16", "epsilon_monotone", false, true, kWarning, EpsilonMonotone},
      {"V17", "unbounded_attack", true, false, kWarning, UnboundedAttack},
      {"V18", "convergence", false, true, kWarning, Convergence},
      {"V19", "incomplete_optimisation", true, false, kWarning, IncompleteOptimisation},
      {"V20", "restarts", false, true, kWarning, Restarts},
      {"V21", "silent_success", false, false, kError, SilentSuccess},
      {"V22", "unstable_predictions", false, true, kWarning, UnstablePredictions},
      {"V23", "preprocessing_gap", false, false, kWarning, PreprocessingGap},
      {"V24", "binarization", false, true, kWarning, Binarization},
      {"V25", "attack_self_test", false, true, kError, AttackSelfTest},
      {"V26", "certified_floor", false, false, kError, CertifiedFloor},
      {"V27", "attack_mix", true, false, kWarning, AttackMix},
      {"V28", "adaptive_needed", false, false, kInfo, AdaptiveNeeded},
      {"V29", "attack_diversity", false, false, kInfo, AttackDiversity},
      {"V30", "fragile_points", false, false, kWarning, FragilePoints},
      {"V31", "sample_size", false, false, kWarning, SampleSize},
      {"V32", "loss_disagreement", false, false, kWarning, LossDisagreement},
      {"V33", "protocol", true, false, kError, Protocol}};
  return kChecks;
}

}  // namespace adamant::validity

namespace adamant {
namespace {

using validity::AllChecks;
using validity::Check;
using validity::kError;
using validity::kWarning;

bool Mandatory(const std::string& id) {
  return std::any_of(AllChecks().begin(), AllChecks().end(),
                     [&](const Check& check) { return check.mandatory && check.id == id; });
}

bool Failed(const v1::ValidityCheck& check, v1::ValidityCheck::Severity severity) {
  return check.status() == v1::ValidityCheck::FAIL && check.severity() == severity;
}

std::string Reasons(const std::vector<v1::ValidityCheck>& checks,
                    const std::function<bool(const v1::ValidityCheck&)>& wanted) {
  std::vector<std::string> texts;
  for (const v1::ValidityCheck& check : checks) {
    if (wanted(check)) texts.push_back(absl::StrCat(check.id(), " ", check.text()));
  }
  return absl::StrJoin(texts, "; ");
}

}  // namespace

Judgement VerdictOf(const std::vector<v1::ValidityCheck>& checks) {
  const std::string errors =
      Reasons(checks, [](const v1::ValidityCheck& check) { return Failed(check, kError); });
  if (!errors.empty()) return {v1::INVALID, errors};
  const std::string warnings =
      Reasons(checks, [](const v1::ValidityCheck& check) { return Failed(check, kWarning); });
  if (!warnings.empty()) return {v1::CAUTION, warnings};
  const std::string open = Reasons(checks, [](const v1::ValidityCheck& check) {
    return check.status() == v1::ValidityCheck::NOT_RUN && Mandatory(check.id());
  });
  if (!open.empty()) return {v1::UNCHECKED, absl::StrCat("not run: ", open)};
  for (const Check& check : AllChecks()) {
    const bool present = std::any_of(checks.begin(), checks.end(),
                                     [&](const auto& one) { return one.id() == check.id; });
    if (check.mandatory && !present) {
      return {v1::UNCHECKED, absl::StrCat("not run: ", check.id, " ", check.name)};
    }
  }
  return {v1::TRUSTED, "every mandatory check ran and passed"};
}

}  // namespace adamant
