// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "core/run/evaluation.h"

namespace adamant {

// Adds to a filled report: distances of the broken samples; with several classes the matrix label
// -> prediction; the easiest and the hardest samples; in mode MIN_NORM medians and success rates;
// with output CURVES the share still robust after every iterate.
void FillTables(const EvaluationResult& result, const std::vector<AttackInstance>& instances,
                const v1::AttackSpec& spec, int64_t num_classes, v1::AttackReport& report);

}  // namespace adamant
