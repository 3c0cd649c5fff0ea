// SPDX-License-Identifier: Apache-2.0
#include "core/explainers/model_view.h"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "core/base/torch.h"
#include "core/models/activation_map.h"

namespace adamant {

Outputs ModelView::Forward(const at::Tensor& images, absl::Span<const std::string> taps) {
  const at::NoGradGuard no_grad;
  forwards_ += images.size(0);
  return model_.ForwardWithTaps(images, taps);
}

at::Tensor ModelView::ForwardReplacing(const at::Tensor& images, const std::string& tap,
                                       const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  forwards_ += images.size(0);
  bool seen = false;
  const at::Tensor logits =
      model_.Forward(images, [&](const std::string& name, const at::Tensor& own) {
        if (name != tap) return own;
        seen = true;
        return value;
      });
  if (!seen) throw std::invalid_argument(absl::StrCat("unknown layer \"", tap, "\""));
  return logits;
}

TapGradients ModelView::Gradients(const at::Tensor& images, absl::Span<const std::string> taps,
                                  const ScoreFunction& score) {
  const at::AutoGradMode with_graph(true);
  std::map<std::string, at::Tensor> seen;
  TapGradients out;
  const at::Tensor logits = model_.Forward(
      images.detach(), [&](const std::string& name, const at::Tensor& value) -> at::Tensor {
        if (std::find(taps.begin(), taps.end(), name) == taps.end()) return value;
        at::Tensor tap = value.requires_grad() ? value : value.detach().requires_grad_(true);
        seen[name] = tap;
        return tap;
      });
  for (const std::string& name : taps) {
    const auto found = seen.find(name);
    if (found == seen.end()) {
      throw std::invalid_argument(absl::StrCat("unknown layer \"", name, "\""));
    }
    out.activations.push_back(found->second);
  }
  forwards_ += images.size(0);
  out.gradients = ScoreGradients(score(logits), out.activations);
  backwards_ += images.size(0);
  for (size_t i = 0; i < taps.size(); ++i) {
    if (!out.gradients[i].defined()) {
      throw std::invalid_argument(
          absl::StrCat("layer \"", taps[i], "\" is not on the path to the score"));
    }
    out.activations[i] = out.activations[i].detach();
  }
  out.logits = logits.detach();
  return out;
}

}  // namespace adamant
