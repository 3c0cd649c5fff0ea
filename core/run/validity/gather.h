// SPDX-License-Identifier: Apache-2.0
// Facts that the evaluation knows already.
#pragma once

#include "core/run/validity.h"
#include "core/run/validity/facts.h"

namespace adamant::validity {

ValidityFacts GatherFacts(const ValidityInput& input, const v1::AttackReport& report);

// The iterative gradient attack that leaves the fewest samples robust; -1 for none.
int StrongestIterative(const ValidityFacts& facts);

// Whether a sample is correct on clean input.
bool IsCorrect(const v1::SampleOutcome& outcome);

// Same norm and epsilon.
bool SameThreat(const AttackFacts& a, const AttackFacts& b);

}  // namespace adamant::validity
