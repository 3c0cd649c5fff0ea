// SPDX-License-Identifier: Apache-2.0
// The files of an attack run.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/run/evaluation.h"

namespace adamant {

// safetensors, schema adamant.samples/1: one column per field of SampleOutcome; `broken_by` is the
// instance that broke the sample first (-1: none), `broken_by_all` U8 [N, instances] where each
// instance has broken it.
std::string SampleTable(const EvaluationResult& result,
                        const std::vector<AttackInstance>& instances,
                        std::map<std::string, std::string> metadata);

// The same for people and spreadsheets: a header and one line per sample.
std::string SampleCsv(const EvaluationResult& result);

// safetensors, schema adamant.adv_set/1, of the samples that have an image: adversarial ones, and
// robust ones with the last attack's best try. CLEAN_WRONG and ERROR samples keep their clean image
// (attack_index -1).
absl::StatusOr<std::string> AdversarialSet(const EvaluationResult& result, const Samples& samples,
                                           const std::vector<AttackInstance>& instances,
                                           std::map<std::string, std::string> metadata);

}  // namespace adamant
