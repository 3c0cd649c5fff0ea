// SPDX-License-Identifier: Apache-2.0
#include "core/models/fold_rows.h"

#include <algorithm>

namespace adamant {
namespace {

// Places of an output that a shift moves inside [0, size): begin..end.
struct Span {
  Span(int64_t shift, int64_t size, int64_t outputs)
      : begin(std::max<int64_t>(0, -shift)), end(std::min(outputs, size - shift)) {}
  int64_t begin, end;
};

void AddPlane(const FoldSizes& sizes, int64_t down, int64_t right, const float* plane,
              float* channel) {
  const Span rows(down, sizes.height, sizes.out_height());
  const Span columns(right, sizes.width, sizes.out_width());
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const float* __restrict from = plane + i * sizes.out_width();
    float* __restrict to = channel + (i + down) * sizes.width + right;
    for (int64_t j = columns.begin; j < columns.end; ++j) to[j] += from[j];
  }
}

}  // namespace

void FoldPlanes(const FoldSizes& sizes, const float* planes, float* image) {
  const int64_t outputs = sizes.out_height() * sizes.out_width();
  std::fill_n(image, sizes.channels * sizes.height * sizes.width, 0.0F);
  for (int64_t c = 0; c < sizes.channels; ++c) {
    float* channel = image + c * sizes.height * sizes.width;
    for (int64_t place = 0; place < sizes.kernel * sizes.kernel; ++place) {
      AddPlane(sizes, place / sizes.kernel - sizes.padding, place % sizes.kernel - sizes.padding,
               planes, channel);
      planes += outputs;
    }
  }
}

}  // namespace adamant
