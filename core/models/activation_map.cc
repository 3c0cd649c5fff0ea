// SPDX-License-Identifier: Apache-2.0
#include "core/models/activation_map.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "core/base/torch.h"

namespace adamant {

at::Tensor WeightedMap(const at::Tensor& activations, const at::Tensor& weights) {
  TORCH_CHECK(activations.dim() == 4 && weights.dim() == 2,
              "a map needs activations [N,C,h,w] and ", "weights [N,C], got ", activations.sizes(),
              " and ", weights.sizes());
  return (activations * weights.unsqueeze(2).unsqueeze(3)).sum(1);
}

at::Tensor CamMap(const Model& model, const at::Tensor& activations, const at::Tensor& classes) {
  const at::Tensor weight = model.GapHead().first;
  if (!weight.defined()) {
    throw std::invalid_argument(
        absl::StrCat("cam: the classifier of ", model.info().architecture.name(),
                     " is not global average pooling and one linear layer; use grad_cam"));
  }
  return WeightedMap(activations, weight.index_select(0, classes));
}

std::vector<at::Tensor> ScoreGradients(const at::Tensor& scores,
                                       const std::vector<at::Tensor>& taps, bool create_graph) {
  return torch::autograd::grad({scores.sum()}, taps, /*grad_outputs=*/{},
                               /*retain_graph=*/create_graph, create_graph, /*allow_unused=*/true);
}

at::Tensor GradCamMap(const at::Tensor& activations, const at::Tensor& gradients) {
  return WeightedMap(activations, gradients.mean({2, 3}));
}

}  // namespace adamant
