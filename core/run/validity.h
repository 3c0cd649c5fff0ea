// SPDX-License-Identifier: Apache-2.0
// Whether a measured robust accuracy can be trusted (attacks.md 4).
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "core/run/evaluation.h"
#include "core/run/validity/verdict.h"

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

// Fills checks, verdict and verdict_reason of a report that is complete otherwise, and notes the
// passes of the probes. Throws what the model throws, and Stopped.
absl::Status RunValidityChecks(const ValidityInput& input, v1::AttackReport& report);

}  // namespace adamant
