// SPDX-License-Identifier: Apache-2.0
// The checks of the validity report: each a rule over facts.
#pragma once

#include <string>
#include <vector>

#include "core/run/validity/facts.h"

namespace adamant::validity {

struct Finding {
  v1::ValidityCheck::Status status = v1::ValidityCheck::NOT_RUN;
  v1::ValidityCheck::Severity severity = v1::ValidityCheck::SEVERITY_UNSPECIFIED;
  double value = 0;
  double threshold = 0;
  int64_t samples = 0;
  std::string text;
};

// The numbers of a check that ran; it fails by `Fails`.
struct Numbers {
  double value = 0;
  double threshold = 0;
  int64_t samples = 0;
};
Finding Passes(const Numbers& numbers);
Finding Fails(v1::ValidityCheck::Severity severity, const Numbers& numbers, std::string text);
Finding NotRun(const std::string& why);

constexpr auto kInfo = v1::ValidityCheck::SEVERITY_INFO;
constexpr auto kWarning = v1::ValidityCheck::SEVERITY_WARNING;
constexpr auto kError = v1::ValidityCheck::SEVERITY_ERROR;

struct Check {
  const char* id;
  const char* name;
  bool mandatory;
  bool full;                             // looks at what only depth full measures
  v1::ValidityCheck::Severity severity;  // where it does not fail
  Finding (*rule)(const ValidityFacts&);
};

// V01..V33 in order.
const std::vector<Check>& AllChecks();

// Inputs, model, data.
Finding InputRange(const ValidityFacts& facts);
Finding LogitsNotProbabilities(const ValidityFacts& facts);
Finding DeterministicForward(const ValidityFacts& facts);
Finding BatchInvariance(const ValidityFacts& facts);
Finding StaticModel(const ValidityFacts& facts);
Finding ZeroGradient(const ValidityFacts& facts);
Finding FiniteValues(const ValidityFacts& facts);
Finding ClassCount(const ValidityFacts& facts);
Finding CleanAccuracy(const ValidityFacts& facts);
// Threat model and budget.
Finding EpsilonBound(const ValidityFacts& facts);
Finding TravelLimit(const ValidityFacts& facts);
Finding EpsilonMonotone(const ValidityFacts& facts);
Finding UnboundedAttack(const ValidityFacts& facts);
Finding PreprocessingGap(const ValidityFacts& facts);
Finding CertifiedFloor(const ValidityFacts& facts);
// Gradient masking.
Finding IterativeVsOneStep(const ValidityFacts& facts);
Finding WhiteVsBlack(const ValidityFacts& facts);
Finding SquareHelps(const ValidityFacts& facts);
Finding RandomSearch(const ValidityFacts& facts);
Finding UnstablePredictions(const ValidityFacts& facts);
Finding Binarization(const ValidityFacts& facts);
Finding AttackSelfTest(const ValidityFacts& facts);
// Convergence.
Finding Convergence(const ValidityFacts& facts);
Finding IncompleteOptimisation(const ValidityFacts& facts);
Finding Restarts(const ValidityFacts& facts);
Finding SilentSuccess(const ValidityFacts& facts);
Finding LossDisagreement(const ValidityFacts& facts);
// Coverage.
Finding AttackMix(const ValidityFacts& facts);
Finding AdaptiveNeeded(const ValidityFacts& facts);
Finding AttackDiversity(const ValidityFacts& facts);
Finding FragilePoints(const ValidityFacts& facts);
Finding SampleSize(const ValidityFacts& facts);
Finding Protocol(const ValidityFacts& facts);

}  // namespace adamant::validity
