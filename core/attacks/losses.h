// SPDX-License-Identifier: Apache-2.0
// Losses that gradient attacks ascend, and the decision rule.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/attacks/victim.h"

namespace adamant {

// strong: cross-entropy is taken as logsumexp_{j != y}(z_j) - z_y in double: the direction of its
// gradient and the order of its values are those of cross-entropy, and it cannot underflow.
// reference: float32 log-softmax cross-entropy, as published code computes it.
enum class Numerics { kStrong, kReference };

// The names MakeLoss knows: ce, margin, cw50, dlr, dlr_targeted, logit_diff, prob_margin.
std::vector<std::string> LossNames();

// Per-sample loss of attacks.md 1.4, larger is better for the attacker. Losses that need more
// classes than the model has are replaced as LossNote says. Throws std::invalid_argument for a loss
// without a targeted, or without an untargeted, form.
LossFunction MakeLoss(const std::string& name, bool targeted, Numerics numerics);

// As MakeLoss, for losses that others are added to: strong `ce` is softplus(m), so that its
// gradient has its true size.
LossFunction MakeSummand(const std::string& name, bool targeted, Numerics numerics);

// What MakeLoss substitutes for this number of classes; "" when nothing.
std::string LossNote(const std::string& name, int64_t num_classes);

// Lowest index among the largest logits: int64 [N].
at::Tensor Predictions(const at::Tensor& logits);

// The lowest index among the smallest logits but the label's: int64 [N].
at::Tensor LeastLikely(const at::Tensor& logits, const at::Tensor& labels);

// z_y - max_{j != y} z_j: [N].
at::Tensor Margins(const at::Tensor& logits, const at::Tensor& labels);

// Classes by falling logit, ties by rising index: int64 [N,K].
at::Tensor RankedClasses(const at::Tensor& logits);

}  // namespace adamant
