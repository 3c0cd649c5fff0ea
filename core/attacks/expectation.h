// SPDX-License-Identifier: Apache-2.0
// Gradients of several passes taken together: draws of a random model, neighbours, scales. Where
// passes are added, magnitudes matter: strong cross-entropy ascends m, of which the loss itself is
// softplus(m).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/attacks/search.h"

namespace adamant {

// The loss that `loss` (of the options, [N]) stands for: softplus(m) for strong cross-entropy, else
// `loss`. -inf stays -inf.
at::Tensor LossValue(const SearchOptions& options, const at::Tensor& loss);

// Logarithm of what the gradient of `loss` has to be multiplied with to be that of LossValue:
// double [N]. The factor itself underflows at large margins.
at::Tensor LossLogSlope(const SearchOptions& options, const at::Tensor& loss);
// exp(log_slope - reference), within what float32 can hold.
at::Tensor SlopeRatio(const at::Tensor& log_slope, const at::Tensor& reference);

// The mean of several passes over the same rows. One pass is returned as it is; equal passes give
// the gradient of one to the bit.
class Expectation {
 public:
  explicit Expectation(const Search& search) : search_(search) {}

  void Add(const LossGradient& seen);

  // gradient: of the mean LossValue, up to a positive factor per row; undefined when the passes had
  // none. loss: the mean LossValue, of a single pass its loss. wrong: the label won in fewer than
  // half of the passes. Reference numerics: loss and decision of the last pass, as published code
  // has them.
  LossGradient Mean() const;

 private:
  const Search& search_;
  LossGradient mean_;
  at::Tensor slope_;   // double [N]: logarithm of the slope of the first pass
  at::Tensor weight_;  // double [N]: sum of slopes in units of the first
  at::Tensor value_;   // double [N]: mean LossValue
  at::Tensor bad_;     // bool [N]: a logit was not finite
  at::Tensor right_;   // int64 [N]: passes that the label won
  int64_t count_ = 0;
};

// The mean of `draws` passes at the images of iterate `step`, with or without gradient; draw d of a
// random model's noise is that of this step and d.
LossGradient ExpectedGradient(Search& search, const at::Tensor& images, int64_t step,
                              int64_t draws);
LossGradient ExpectedLoss(Search& search, const at::Tensor& images, int64_t step, int64_t draws);

}  // namespace adamant
