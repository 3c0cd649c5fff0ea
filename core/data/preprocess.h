// SPDX-License-Identifier: Apache-2.0
// From decoded pixels to the tensor that a model sees (explanations.md 3.3). Nothing is resized or
// recoloured silently.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "adamant/v1/explain.pb.h"
#include "core/data/image_file.h"

namespace adamant {

// float32 [C,H,W], value / 255.
at::Tensor ToTensor(const PixelImage& image);

// 8-bit pixels of a [C,H,W] tensor with values in [0,1], C 1 or 3: floor(255 v + 0.5).
PixelImage ToPixels(const at::Tensor& image);

// [C,h,w] -> [C,height,width], bilinear with antialias, half-pixel centres.
at::Tensor ResizeImage(const at::Tensor& image, int64_t height, int64_t width);

// `image` [c,h,w] in [0,1] as `how` says, for a model that takes [channels,height,width].
// INVALID_ARGUMENT when the size differs and no policy was chosen (the text names the policies),
// when the channels differ without convert_channels, or when `how` is out of range.
absl::StatusOr<at::Tensor> Preprocess(const at::Tensor& image, const v1::Preprocess& how,
                                      int64_t channels, int64_t height, int64_t width);

}  // namespace adamant
