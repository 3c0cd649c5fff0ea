// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "core/run/evaluation.h"

namespace adamant {

// Fills what follows from the evaluation: accuracies with intervals, blocks per attack and class,
// counts.
void FillReport(const EvaluationResult& result, const std::vector<AttackInstance>& instances,
                const v1::AttackSpec& spec, int64_t num_classes, v1::AttackReport& report);

// Of the Wilson intervals.
double ConfidenceZ(const v1::AttackSpec& spec);

// "ids 0..999", or "37 ids from 3 to 990".
std::string SelectionText(const std::vector<int64_t>& ids);

// SHA-256 over what decides the result: the resolved attacks, seeds, mode, rows per call, model and
// data, of which `report` holds the rows and the digests. The number of samples in flight is not
// part of it.
std::string ConfigHash(const v1::AttackSpec& spec, const std::vector<AttackInstance>& instances,
                       const v1::AttackReport& report);

}  // namespace adamant
