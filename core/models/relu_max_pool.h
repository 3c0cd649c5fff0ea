// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

namespace adamant {

// max_pool2d(relu(x), 2): [N,C,H,W] -> [N,C,H/2,W/2]. Values and gradients are those of the two
// operations; gradients of gradients exist. On the CPU it is one pass over x: LibTorch's own
// max_pool2d is scalar there and takes a third of an attack on a small network.
//
// slopes (float [N]; undefined: 0): in the backward pass a window of image i without a positive
// value passes slopes[i] times its gradient to its largest value.
at::Tensor ReluMaxPool(const at::Tensor& x, const at::Tensor& slopes = {});

// relu(x); in the backward pass an inactive unit of image i passes slopes[i] (float [N]) times its
// gradient.
at::Tensor LeakyBackwardRelu(const at::Tensor& x, const at::Tensor& slopes);

}  // namespace adamant
