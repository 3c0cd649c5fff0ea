// SPDX-License-Identifier: Apache-2.0
// Linear maps of images and gradients that attacks for transfer use.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace adamant {

// With probability `prob` a row is shrunk to a height r of S..H-1, S = floor(low * H), and the same
// share of its width, by nearest neighbours, and padded with zeros to its own size at a random
// offset (Xie et al. 2019, who pad to more than the image's size). Where S = H, the identity.
class ResizeAndPad {
 public:
  // drawn [N,4], uniform in [0,1): whether, size, vertical and horizontal offset.
  ResizeAndPad(const at::Tensor& drawn, int64_t height, int64_t width, double prob, double low);

  at::Tensor Apply(const at::Tensor& images) const;        // [N,C,H,W]
  at::Tensor PullBack(const at::Tensor& gradients) const;  // of the result -> of the images

 private:
  at::Tensor source_;  // int64 [N,H*W]: where each pixel of the result comes from
  at::Tensor filled_;  // bool [N,H*W]: whether it comes from anywhere
};

// Each channel convolved with a Gaussian of `width` (odd) points from -3 to 3 deviations, sum 1,
// zeros outside. Width 1 is the identity.
at::Tensor GaussianBlur(const at::Tensor& images, int64_t width);

}  // namespace adamant
