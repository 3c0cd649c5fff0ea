// SPDX-License-Identifier: Apache-2.0
// Class activation maps as functions of tensors, with their graph kept: explainers, objectives and
// attacks call these and hold no second copy. All maps are before the ReLU.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

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

}  // namespace adamant
