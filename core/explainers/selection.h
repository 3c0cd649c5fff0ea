// SPDX-License-Identifier: Apache-2.0
// What is explained: which class, by which score, at which layers (explanations.md 1.3 and 1.4).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/models/model.h"

namespace adamant {

enum class TargetRule { kPredicted, kTrueLabel, kSecond, kLeastLikely, kGiven };

struct TargetPolicy {
  TargetRule rule = TargetRule::kPredicted;
  int64_t class_index = 0;  // kGiven
};

enum class ScoreKind { kLogit, kProbability, kLogProbability, kMargin, kContrast };

// The scalar of an image that is differentiated.
struct Score {
  ScoreKind kind = ScoreKind::kLogit;
  int64_t contrast_class = 0;  // kContrast: z_c - z_d
};

// The class that each map explains, int64 [N]. Ties go to the lowest index. labels int64 [N], -1
// where unknown; ids name the sample in an error. INVALID_ARGUMENT for a class outside [0,K-1] or a
// missing label.
absl::StatusOr<at::Tensor> ResolveClasses(const TargetPolicy& policy, const at::Tensor& logits,
                                          const at::Tensor& labels, const at::Tensor& ids);

// [N] from logits [N,K] and classes [N].
at::Tensor ScoreOf(const Score& score, const at::Tensor& logits, const at::Tensor& classes);

// INVALID_ARGUMENT when contrast_class is outside [0,num_classes-1].
absl::Status CheckScore(const Score& score, int64_t num_classes);

// The taps called `names`, own names or aliases, without repetition; none: the default tap.
// INVALID_ARGUMENT lists the nearest names and all layers as `name [C,h,w]`; FAILED_PRECONDITION
// when the model has no layers.
absl::StatusOr<std::vector<Tap>> SelectLayers(const ModelInfo& info,
                                              const std::vector<std::string>& names);

}  // namespace adamant
