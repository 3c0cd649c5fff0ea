// SPDX-License-Identifier: Apache-2.0
// The two searches of the portfolio: gradient ascent with leaky ReLUs, and local moves between
// vertices of the ball. Both remember how near each image came to each class.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/attacks/search.h"

namespace adamant {

// The nearest points seen so far, for all images of a batch.
class Closest {
 public:
  Closest(const Batch& batch, int64_t num_classes);

  // Looks at logits [M,K] of images [M,C,H,W], one for each row that `search` has.
  void Update(const Search& search, const at::Tensor& images, const at::Tensor& logits);

  const at::Tensor& lead() const { return lead_; }      // double [N]: max_{j != y} z_j - z_y
  const at::Tensor& images() const { return images_; }  // where it was
  // int64 [M]: of the rows, the class other than the label that came `place`-th nearest.
  at::Tensor Target(const at::Tensor& rows, int64_t place) const;

 private:
  at::Tensor labels_;
  at::Tensor lead_;
  at::Tensor images_;
  at::Tensor class_lead_;  // double [N,K]: largest z_j - z_y; -inf in the label's column
};

// Gradient ascent on z_t - z_y from a random point. During `leak_steps` an inactive ReLU passes
// (1-k/K)^2 * a of the gradient in step k of K, a ~ U(0, leak) once for each image and restart;
// the step falls from 2 epsilon by the same law, its direction is the sign of a momentum-0.5
// average of g/mean|g|. Then `steps` steps with the true gradient, from 0.3 to 0.02 epsilon by
// cosine, momentum 0.75.
struct LeakyAscent {
  double leak = 0.5;
  int64_t leak_steps = 20;
  int64_t steps = 30;

  // One try for the rows that the search has in search, at their targets.
  void Run(Search& search, Closest& closest) const;
  int64_t passes() const { return leak_steps + steps + 1; }

 private:
  at::Tensor Slopes(const Search& search) const;
};

// Moves of the image's nearest point, several chains at once: a square window to one vertex of the
// ball, or a window or a random mask to the sign of the gradient; windows shrink from side 5 to 1,
// masks from 5 % to 0.2 % of the values. A move stays when the margin improves.
struct VertexMoves {
  int64_t chains = 4;
  int64_t iterations = 100;

  void Run(Search& search, Closest& closest) const;
  int64_t passes() const { return chains * iterations + (iterations + kRefresh - 1) / kRefresh; }

  static constexpr int64_t kRefresh = 25;  // iterations between gradients
};

}  // namespace adamant
