// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/transforms.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/torch.h"

namespace adamant {
namespace {

// Positions of one dimension: for each of `size` places of the result its source, and whether it
// has one. `shrunk` and `offset` int64 [N].
std::pair<at::Tensor, at::Tensor> Sources(const at::Tensor& shrunk, const at::Tensor& offset,
                                          int64_t size) {
  const at::Tensor place =
      at::arange(size, shrunk.options()).unsqueeze(0) - offset.unsqueeze(1);  // [N,size]
  const at::Tensor width = shrunk.unsqueeze(1);
  const at::Tensor inside = (place >= 0).logical_and(place < width);
  const at::Tensor source = at::div(place.clamp_min(0) * size, width, "floor").clamp_max(size - 1);
  return {source, inside};
}

at::Tensor Offset(const at::Tensor& drawn, const at::Tensor& shrunk, int64_t size) {
  return (drawn * (size - shrunk + 1)).to(at::kLong).minimum(size - shrunk);
}

// Sum of shifted copies along `dim`: in a fixed order, so that no row depends on the others.
at::Tensor Smooth(const at::Tensor& images, const std::vector<double>& weights, int64_t dim) {
  const auto reach = static_cast<int64_t>(weights.size() / 2);
  const int64_t size = images.size(dim);
  at::Tensor sum = at::zeros_like(images);
  for (int64_t shift = -reach; shift <= reach; ++shift) {
    const int64_t count = size - std::abs(shift);
    if (count <= 0) continue;
    sum.narrow(dim, std::max<int64_t>(0, -shift), count)
        .add_(images.narrow(dim, std::max<int64_t>(0, shift), count),
              weights[static_cast<size_t>(shift + reach)]);
  }
  return sum;
}

}  // namespace

ResizeAndPad::ResizeAndPad(const at::Tensor& drawn, int64_t height, int64_t width, double prob,
                           double low) {
  const auto smallest = static_cast<int64_t>(low * static_cast<double>(height));
  const int64_t sizes = height - std::max<int64_t>(smallest, 1);
  const at::Tensor chosen = (drawn.select(1, 0) < (sizes > 0 ? prob : 0.0));
  const at::Tensor size = (drawn.select(1, 1) * sizes).to(at::kLong) + (height - sizes);
  const at::Tensor rows = at::where(chosen, size, height);
  const at::Tensor columns = at::div(rows * width, height, "floor").clamp_min(1);
  const auto [down, has_row] = Sources(rows, Offset(drawn.select(1, 2), rows, height), height);
  const auto [across, has_column] =
      Sources(columns, Offset(drawn.select(1, 3), columns, width), width);
  source_ = (down.unsqueeze(2) * width + across.unsqueeze(1)).flatten(1);
  filled_ = has_row.unsqueeze(2).logical_and(has_column.unsqueeze(1)).flatten(1);
}

at::Tensor ResizeAndPad::Apply(const at::Tensor& images) const {
  const at::Tensor flat = images.flatten(2);
  const at::Tensor source = source_.unsqueeze(1).expand_as(flat);
  return (flat.gather(2, source) * filled_.unsqueeze(1)).view_as(images);
}

at::Tensor ResizeAndPad::PullBack(const at::Tensor& gradients) const {
  const at::Tensor flat = gradients.flatten(2) * filled_.unsqueeze(1);
  const at::Tensor source = source_.unsqueeze(1).expand_as(flat);
  // Shrinking takes a pixel at most once: apart from zeros, nothing is added.
  return at::zeros_like(flat).scatter_add_(2, source, flat).view_as(gradients);
}

at::Tensor GaussianBlur(const at::Tensor& images, int64_t width) {
  if (width == 1) return images;
  std::vector<double> weights;
  double sum = 0;
  for (int64_t i = 0; i < width; ++i) {
    const double at = -3 + 6 * static_cast<double>(i) / static_cast<double>(width - 1);
    weights.push_back(std::exp(-at * at / 2));
    sum += weights.back();
  }
  for (double& weight : weights) weight /= sum;
  return Smooth(Smooth(images, weights, 2), weights, 3);
}

}  // namespace adamant
