// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace adamant {

// conv2d(x, weight, bias) with the same stride and padding in both directions: x [N,C,H,W], weight
// [O,C,k,k], bias [O] or undefined. Values and gradients are those of at::conv2d; gradients of
// gradients exist.
//
// Where attacks need it (float32 on the CPU, frozen weights, stride 1, at most four channels of x)
// the gradient for x is one matrix product and a sum over shifted planes: oneDNN's kernel computes
// 16 channels whatever x has, which made the first layer a fifth of an attack on a LeNet.
at::Tensor ImageConv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     int64_t stride, int64_t padding);

}  // namespace adamant
