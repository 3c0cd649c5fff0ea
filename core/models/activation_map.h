// SPDX-License-Identifier: Apache-2.0
// Class activation maps as functions of tensors, with their graph kept: explainers, objectives and
// attacks call these and hold no second copy. All maps are before the ReLU.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/models/model.h"

namespace adamant {

// [N,h,w]: sum_k weights[n,k] * activations[n,k,:,:]. activations [N,C,h,w], weights [N,C].
at::Tensor WeightedMap(const at::Tensor& activations, const at::Tensor& weights);

// CAM (Zhou et al. 2016): channel k weighs W[c,k] of the classifier behind global average pooling.
// activations are the default tap [N,C,h,w], classes int64 [N]. Throws std::invalid_argument unless
// info().gap_head.
at::Tensor CamMap(const Model& model, const at::Tensor& activations, const at::Tensor& classes);

// d(sum of scores) / d(tap) for each tap, of the tap's shape; scores [N]. An undefined element: the
// scores do not depend on this tap. create_graph: the gradients can be differentiated again.
std::vector<at::Tensor> ScoreGradients(const at::Tensor& scores,
                                       const std::vector<at::Tensor>& taps,
                                       bool create_graph = false);

// Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391): channel k weighs the spatial mean of its
// gradient. On a GAP and linear head, h * w * GradCamMap == CamMap. Both arguments [N,C,h,w].
at::Tensor GradCamMap(const at::Tensor& activations, const at::Tensor& gradients);

// Grad-CAM of logit classes[n] (int64 [N]) from one pass with its graph, differentiable again.
// head_weight [K,C], of Model::GapHead, where `activations` are the default tap: the closed form,
// without taking a gradient. Undefined: by gradients; 0 where the logits do not depend on the tap.
// constant_weights: the weights of the channels are taken for constants.
at::Tensor LogitMap(const at::Tensor& logits, const at::Tensor& activations,
                    const at::Tensor& classes, const at::Tensor& head_weight = {},
                    bool constant_weights = false);

// Each map (m - min m) / (max m - min m + 1e-8). [N,h,w].
at::Tensor MinMaxScaled(const at::Tensor& maps);

// sum_c A_c^2 over space, divided by its Euclidean norm, floored at 1e-8 (Zagoruyko and Komodakis
// 2017, arXiv 1612.03928): [N,h,w] from [N,C,h,w].
at::Tensor SpatialAttention(const at::Tensor& activations);

// The layers `names` (names or aliases) under their own names; none named: the default tap. `maps`:
// each must have maps. FAILED_PRECONDITION where the model has no default tap, INVALID_ARGUMENT for
// a layer that does not exist or fit.
absl::StatusOr<std::vector<std::string>> TapsOf(const ModelInfo& info,
                                                const std::vector<std::string>& names, bool maps);

}  // namespace adamant
