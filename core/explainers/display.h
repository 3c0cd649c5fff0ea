// SPDX-License-Identifier: Apache-2.0
// From raw maps to what pictures show (explanations.md 1.6): upsample the raw map first, then
// normalise.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/explainers/explainer.h"

namespace adamant {

enum class Upsampling { kBilinear, kNearest };

// [N,h,w] -> [N,height,width]; bilinear with half-pixel centres, no antialias.
at::Tensor Upsample(const at::Tensor& maps, int64_t height, int64_t width, Upsampling mode);

// bool [N]: max - min <= 1e-6 * max|m| over all of maps[n].
at::Tensor IsConstant(const at::Tensor& maps);

// Scales each maps[n] to [0,1] by its own range, or, signed, to [-1,1] by its largest magnitude.
// All that maps[n] holds shares one scale: [N,2,H,W] is a pair on one scale. A constant map is all
// zeros.
at::Tensor Normalise(const at::Tensor& maps, Signedness signedness);

}  // namespace adamant
