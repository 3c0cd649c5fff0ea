// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace adamant {

// Sizes of a convolution with stride 1: [channels, height, width] -> [*, out_height, out_width].
struct FoldSizes {
  int64_t channels, height, width, kernel, padding;
  int64_t out_height() const { return height + 2 * padding - kernel + 1; }
  int64_t out_width() const { return width + 2 * padding - kernel + 1; }
};

// Adds up what each place of the window passes to an image: planes [channels, kernel, kernel,
// out_height, out_width] -> image [channels, height, width] (col2im).
void FoldPlanes(const FoldSizes& sizes, const float* planes, float* image);

}  // namespace adamant
