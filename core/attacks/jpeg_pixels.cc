// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
// jpeglib.h needs <cstdio> before it.
#include <jpeglib.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/attacks/corruption_pixels.h"

namespace adamant {
namespace {

struct Encoded {
  unsigned char* bytes = nullptr;
  unsigned long size = 0;  // NOLINT(google-runtime-int): libjpeg's type
  ~Encoded() { std::free(bytes); }
};

// Interleaved rows of bytes. The library's default error handler is never reached: both images are
// our own and in memory.
void Encode(const PlaneShape& shape, int quality, std::vector<unsigned char>& pixels,
            Encoded& out) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &out.bytes, &out.size);
  info.image_width = static_cast<JDIMENSION>(shape.width);
  info.image_height = static_cast<JDIMENSION>(shape.height);
  info.input_components = static_cast<int>(shape.channels);
  info.in_color_space = shape.channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = pixels.data() + info.next_scanline * shape.width * shape.channels;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
}

void Decode(const PlaneShape& shape, const Encoded& in, std::vector<unsigned char>& pixels) {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, in.bytes, in.size);
  jpeg_read_header(&info, TRUE);
  jpeg_start_decompress(&info);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = pixels.data() + info.output_scanline * shape.width * shape.channels;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
}

}  // namespace

void ThroughJpeg(const PlaneShape& shape, int quality, float* image) {
  if (shape.channels != 1 && shape.channels != 3) return;
  std::vector<unsigned char> pixels(static_cast<size_t>(shape.size()));
  for (int64_t p = 0; p < shape.plane(); ++p) {
    for (int64_t c = 0; c < shape.channels; ++c) {
      const float value = std::clamp(image[c * shape.plane() + p], 0.0F, 1.0F);
      pixels[p * shape.channels + c] = static_cast<unsigned char>(std::lround(255 * value));
    }
  }
  Encoded file;
  Encode(shape, quality, pixels, file);
  Decode(shape, file, pixels);
  for (int64_t p = 0; p < shape.plane(); ++p) {
    for (int64_t c = 0; c < shape.channels; ++c) {
      image[c * shape.plane() + p] = static_cast<float>(pixels[p * shape.channels + c]) / 255.0F;
    }
  }
}

}  // namespace adamant
