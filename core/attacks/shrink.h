// SPDX-License-Identifier: Apache-2.0
// Changes [N,C,H,W] drawn onto balls whose radius (double [N]) differs from row to row.
#pragma once

#include <ATen/core/Tensor.h>

#include "core/attacks/attack.h"

namespace adamant {

// LINF clamps, L2 scales, L1 is the Euclidean projection, L0 keeps the `radius` pixels that changed
// most. The box is not looked at.
at::Tensor Shrink(Norm norm, const at::Tensor& change, const at::Tensor& radius);

// argmin_u ||u - change||_2^2 / 2 + weight ||u||_norm, weight double [N]. L0: of pixels, each kept
// as a whole or dropped.
at::Tensor Proximal(Norm norm, const at::Tensor& change, const at::Tensor& weight);

// The same for weight * sum_i |u_i|^(2/3), by its closed form, value by value.
at::Tensor ProximalTwoThirds(const at::Tensor& change, const at::Tensor& weight);

}  // namespace adamant
