// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "core/attacks/victim.h"
#include "core/models/model.h"

namespace adamant {

// Scores [N] from logits [N,K].
using ScoreFunction = std::function<at::Tensor(const at::Tensor& logits)>;

struct TapGradients {
  at::Tensor logits;                    // [N,K]
  std::vector<at::Tensor> activations;  // in the order of the taps asked for
  std::vector<at::Tensor> gradients;    // of the sum of scores, same shapes
};

// A Model as explainers see it: in eval mode, with constant parameters for the view's lifetime, and
// with its passes counted in rows. Borrows the model. Not thread-safe.
class ModelView {
 public:
  explicit ModelView(Model& model) : model_(model), frozen_(model) {}

  // Logits and taps without a graph. Throws std::invalid_argument for an unknown tap.
  Outputs Forward(const at::Tensor& images, absl::Span<const std::string> taps);

  // Logits of a pass that goes on with `value` behind `tap` (its own name, not an alias).
  at::Tensor ForwardReplacing(const at::Tensor& images, const std::string& tap,
                              const at::Tensor& value);

  // One forward and one backward pass. The graph starts at the earliest of `taps` (own names), so
  // layers below it are neither recorded nor differentiated. Throws std::invalid_argument when the
  // score does not depend on a tap.
  TapGradients Gradients(const at::Tensor& images, absl::Span<const std::string> taps,
                         const ScoreFunction& score);

  const Model& model() const { return model_; }
  const ModelInfo& info() const { return model_.info(); }
  int64_t forwards() const { return forwards_; }
  int64_t backwards() const { return backwards_; }

 private:
  Model& model_;
  const FrozenModel frozen_;
  int64_t forwards_ = 0;
  int64_t backwards_ = 0;
};

}  // namespace adamant
