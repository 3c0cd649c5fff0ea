// SPDX-License-Identifier: Apache-2.0
// Image files in and out (reliability.md 3.4, explanations.md 3.3 and 5.1). libjpeg-turbo and
// libpng do the coding; what is refused is refused from the header, before pixels are allocated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace adamant {

// Interleaved 8-bit pixels [height, width, channels], channels 1 or 3.
struct PixelImage {
  int64_t width = 0;
  int64_t height = 0;
  int64_t channels = 0;
  std::vector<uint8_t> pixels;

  uint8_t at(int64_t row, int64_t column, int64_t channel) const {
    return pixels[static_cast<size_t>((row * width + column) * channels + channel)];
  }
};

// Decodes a PNG (8-bit grey, RGB, RGBA, palette; alpha is composited on black) or a JPEG (baseline
// or progressive, 1 or 3 components; EXIF orientation is ignored). INVALID_ARGUMENT:
// IMAGE_TOO_LARGE above 32 MiB, 8192 x 8192 or 32 Mpixel; IMAGE_INVALID for any other format or
// depth, CMYK, arithmetic coding, more than 64 scans, and for every error or warning of the
// decoder.
absl::StatusOr<PixelImage> DecodeImage(absl::string_view bytes);

// 8-bit grey or RGB PNG: no interlace, filter Sub, zlib level 6, no ancillary chunks. Same pixels,
// same bytes.
std::string EncodePng(const PixelImage& image);

}  // namespace adamant
