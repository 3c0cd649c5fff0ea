// SPDX-License-Identifier: Apache-2.0
// One result from the evaluations of several seeds.
#pragma once

#include <vector>

#include "core/run/evaluation.h"

namespace adamant {

// The worst case: a sample is robust when it is robust under every seed; the first seed that broke
// it gives its image and outcome. Counts are sums over the seeds. `runs` must not be empty and must
// be of the same instances.
EvaluationResult WorstCase(std::vector<EvaluationResult> runs);

int64_t CountRobust(const EvaluationResult& result);

}  // namespace adamant
