// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "absl/status/statusor.h"
#include "core/explainers/explainer.h"

namespace adamant {

// The 256 colours [256,3] of "viridis", "jet", "grey" or "blue_white_red", in [0,1].
// INVALID_ARGUMENT lists these names.
absl::StatusOr<at::Tensor> ColourTable(const std::string& name);

// Colours [3,H,W] of a display map [H,W], values [0,1] or, signed, [-1,1]: entry floor(255 v +
// 0.5).
at::Tensor Colourise(const at::Tensor& display, const at::Tensor& table, Signedness signedness);

}  // namespace adamant
