// SPDX-License-Identifier: Apache-2.0
#include "core/explainers/display.h"

#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kConstant = 1e-6;

}  // namespace

at::Tensor Upsample(const at::Tensor& maps, int64_t height, int64_t width, Upsampling mode) {
  const at::Tensor planes = maps.unsqueeze(1);
  return (mode == Upsampling::kNearest
              ? at::upsample_nearest2d(planes, {height, width})
              : at::upsample_bilinear2d(planes, {height, width}, /*align_corners=*/false))
      .squeeze(1);
}

at::Tensor IsConstant(const at::Tensor& maps) {
  const at::Tensor flat = maps.flatten(1);
  return (flat.amax(1) - flat.amin(1)).le(kConstant * flat.abs().amax(1));
}

at::Tensor Normalise(const at::Tensor& maps, Signedness signedness) {
  const at::Tensor flat = maps.flatten(1);
  const at::Tensor low =
      signedness == Signedness::kSigned ? at::zeros_like(flat.amin(1, true)) : flat.amin(1, true);
  const at::Tensor span =
      signedness == Signedness::kSigned ? flat.abs().amax(1, true) : flat.amax(1, true) - low;
  const at::Tensor constant = IsConstant(maps).unsqueeze(1);
  const at::Tensor scaled = (flat - low) / span.masked_fill(constant, 1);
  return scaled.masked_fill(constant, 0).view(maps.sizes());
}

}  // namespace adamant
