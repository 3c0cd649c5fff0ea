// SPDX-License-Identifier: Apache-2.0
// Whether a measured robust accuracy can be trusted.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "core/run/evaluation.h"

namespace adamant {

// What the checks may look at and run. Borrowed.
struct ValidityInput {
  Model& model;
  const Samples& samples;
  const v1::AttackSpec& spec;
  const std::vector<AttackInstance>& instances;
  const EvaluationOptions& options;  // of the evaluation that gave `result`
  const EvaluationResult& result;
  const RunControl& control;
};

// Fills checks, verdict and verdict_reason of a report that is complete otherwise.
absl::Status RunValidityChecks(const ValidityInput& input, v1::AttackReport& report);

}  // namespace adamant
