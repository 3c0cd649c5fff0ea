// SPDX-License-Identifier: Apache-2.0
// What attacks ascend: from the outputs of a forward pass to a value per sample and its gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace adamant {

// Which classes a loss is about, row by row.
struct Aims {
  at::Tensor labels;        // int64 [N]: to leave
  at::Tensor targets = {};  // int64 [N]: to reach; undefined: untargeted

  Aims Select(const at::Tensor& keep) const;  // int64 [M]
};

// Per-sample loss [N] to ascend, from logits [N,K].
using LossFunction = std::function<at::Tensor(const at::Tensor& logits, const Aims& aims)>;

struct LossGradient {
  at::Tensor gradient;   // of the sum of losses with respect to the images, [N,C,H,W]; non-finite
                         // components are 0
  at::Tensor loss;       // [N]; -inf where a logit is not finite
  at::Tensor logits;     // [N,K]
  at::Tensor nonfinite;  // bool [N]: the gradient had a component that is not finite
  // bool [N], where several passes decide: the label won in fewer than half of them. Undefined: as
  // the logits say.
  at::Tensor wrong = {};
};

// One forward pass as a loss that looks inside the network sees it. Its last rows may be padding.
struct SeenPass {
  at::Tensor logits;             // [N,K]
  std::vector<at::Tensor> taps;  // as TapLoss::taps names them
  Aims aims;
  at::Tensor rows;  // int64 [N]: positions within the batch
};

// A loss of logits and taps.
struct TapLoss {
  std::vector<std::string> taps = {};
  // One or more values [N] each, to ascend.
  std::function<std::vector<at::Tensor>(const SeenPass& pass)> values = {};
  // Makes one gradient of those of the values. Unset: there is one value.
  std::function<at::Tensor(const std::vector<at::Tensor>& gradients)> join = {};
  int64_t backwards = 1;  // per row: of the values, and those that `values` takes itself
};

}  // namespace adamant
