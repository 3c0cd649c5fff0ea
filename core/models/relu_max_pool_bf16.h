// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

namespace adamant {

// max_pool2d(relu(x), 2) for bfloat16 on the CPU, [N,C,H,W] -> [N,C,H/2,W/2], channels last. A NaN
// with its sign bit set counts as 0. Asking for gradients of gradients throws: there are none.
at::Tensor ReluMaxPoolBf16(const at::Tensor& x);

}  // namespace adamant
