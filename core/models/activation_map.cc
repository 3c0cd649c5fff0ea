// SPDX-License-Identifier: Apache-2.0
#include "core/models/activation_map.h"

#include <algorithm>
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

at::Tensor LogitMap(const at::Tensor& logits, const at::Tensor& activations,
                    const at::Tensor& classes, const at::Tensor& head_weight,
                    bool constant_weights) {
  if (head_weight.defined()) {
    const auto cells = static_cast<double>(activations.size(2) * activations.size(3));
    return WeightedMap(activations, head_weight.index_select(0, classes)) / cells;
  }
  at::Tensor gradient;
  const at::Tensor scores = logits.gather(1, classes.unsqueeze(1));
  if (scores.requires_grad()) {
    gradient = ScoreGradients(scores, {activations}, /*create_graph=*/true)[0];
  }
  if (!gradient.defined()) gradient = at::zeros_like(activations);
  return GradCamMap(activations, constant_weights ? gradient.detach() : gradient);
}

at::Tensor MinMaxScaled(const at::Tensor& maps) {
  const at::Tensor low = maps.amin({1, 2}, /*keepdim=*/true);
  return (maps - low) / (maps.amax({1, 2}, /*keepdim=*/true) - low + 1e-8);
}

at::Tensor SpatialAttention(const at::Tensor& activations) {
  const at::Tensor maps = activations.square().sum(1);
  return maps / maps.flatten(1).norm(2, {1}).clamp_min(1e-8).view({-1, 1, 1});
}

absl::StatusOr<std::vector<std::string>> TapsOf(const ModelInfo& info,
                                                const std::vector<std::string>& names, bool maps) {
  if (names.empty() && info.default_tap.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        info.architecture.name().empty() ? "a TorchScript model"
                                         : absl::StrCat("model ", info.architecture.name()),
        " names no layer with maps to look at; use a safetensors model of a known architecture"));
  }
  std::vector<std::string> own;
  for (const std::string& name : names.empty() ? std::vector{info.default_tap} : names) {
    const auto found = std::find_if(info.taps.begin(), info.taps.end(), [&](const Tap& tap) {
      return tap.name == name || std::count(tap.aliases.begin(), tap.aliases.end(), name) > 0;
    });
    if (found == info.taps.end() || (maps && found->height == 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("taps: the model has no layer \"", name, "\"", maps ? " with maps" : ""));
    }
    own.push_back(found->name);
  }
  return own;
}

}  // namespace adamant
