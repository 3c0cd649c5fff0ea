// SPDX-License-Identifier: Apache-2.0
#include "core/data/image_file.h"

#include <jpeglib.h>
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr size_t kMaxFileBytes = 32 << 20;
constexpr int64_t kMaxSide = 8192;
constexpr int64_t kMaxPixels = 32 << 20;
constexpr int kMaxScans = 64;

absl::Status Invalid(absl::string_view format, absl::string_view reason) {
  return absl::InvalidArgumentError(absl::StrCat("IMAGE_INVALID: ", format, ": ", reason));
}

absl::Status CheckSize(int64_t width, int64_t height) {
  if (width < 1 || height < 1) return Invalid("image", "it has no pixels");
  if (width <= kMaxSide && height <= kMaxSide && width * height <= kMaxPixels) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("IMAGE_TOO_LARGE: ", width, "x", height,
                                                 " is above ", kMaxSide, "x", kMaxSide, " or ",
                                                 kMaxPixels, " pixels"));
}

// ---- JPEG. libjpeg reports through longjmp, so the functions that call it own no C++ object. ----

struct JpegErrors {
  jpeg_error_mgr base;
  std::jmp_buf escape;
  char text[JMSG_LENGTH_MAX];
};

[[noreturn]] void JpegFail(j_common_ptr decoder) {
  auto* errors = reinterpret_cast<JpegErrors*>(decoder->err);
  errors->base.format_message(decoder, errors->text);
  std::longjmp(errors->escape, 1);
}

// Warnings (negative levels) are as fatal as errors: a damaged file is not an image.
void JpegMessage(j_common_ptr decoder, int level) {
  if (level < 0) JpegFail(decoder);
}

void JpegCountScans(j_common_ptr decoder) {
  auto* jpeg = reinterpret_cast<j_decompress_ptr>(decoder);
  if (jpeg->input_scan_number <= kMaxScans) return;
  auto* errors = reinterpret_cast<JpegErrors*>(decoder->err);
  std::snprintf(errors->text, sizeof(errors->text), "more than %d scans", kMaxScans);
  std::longjmp(errors->escape, 1);
}

void JpegBegin(jpeg_decompress_struct& jpeg, JpegErrors& errors) {
  std::memset(&jpeg, 0, sizeof(jpeg));
  jpeg.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = JpegFail;
  errors.base.emit_message = JpegMessage;
  errors.text[0] = '\0';
}

bool JpegReadHeader(jpeg_decompress_struct& jpeg, JpegErrors& errors, const uint8_t* data,
                    size_t size) {
  if (setjmp(errors.escape) != 0) return false;
  jpeg_create_decompress(&jpeg);
  jpeg_mem_src(&jpeg, data, size);
  jpeg_read_header(&jpeg, TRUE);
  return true;
}

bool JpegReadPixels(jpeg_decompress_struct& jpeg, JpegErrors& errors, jpeg_progress_mgr& progress,
                    uint8_t* out) {
  if (setjmp(errors.escape) != 0) return false;
  progress.progress_monitor = JpegCountScans;
  jpeg.progress = &progress;
  jpeg.out_color_space = jpeg.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg.dct_method = JDCT_ISLOW;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = out + size_t{jpeg.output_scanline} * jpeg.output_width *
                             static_cast<size_t>(jpeg.output_components);
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

absl::Status JpegCheckHeader(const jpeg_decompress_struct& jpeg) {
  RETURN_IF_ERROR(CheckSize(jpeg.image_width, jpeg.image_height));
  if (jpeg.data_precision != 8) return Invalid("JPEG", "only 8 bits per sample are accepted");
  if (jpeg.arith_code != FALSE) return Invalid("JPEG", "arithmetic coding is not accepted");
  if (jpeg.num_components != 1 && jpeg.num_components != 3) {
    return Invalid("JPEG", absl::StrCat(jpeg.num_components,
                                        " components (CMYK?); only grey and colour are accepted"));
  }
  return absl::OkStatus();
}

absl::StatusOr<PixelImage> DecodeJpeg(absl::string_view bytes) {
  jpeg_decompress_struct jpeg;
  JpegErrors errors;
  jpeg_progress_mgr progress{};
  PixelImage image;
  JpegBegin(jpeg, errors);
  absl::Status status;
  if (!JpegReadHeader(jpeg, errors, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size())) {
    status = Invalid("JPEG", errors.text);
  } else {
    status = JpegCheckHeader(jpeg);
  }
  if (status.ok()) {
    image.width = jpeg.image_width;
    image.height = jpeg.image_height;
    image.channels = jpeg.num_components;
    image.pixels.resize(static_cast<size_t>(image.width * image.height * image.channels));
    if (!JpegReadPixels(jpeg, errors, progress, image.pixels.data())) {
      status = Invalid("JPEG", errors.text);
    }
  }
  jpeg_destroy_decompress(&jpeg);
  if (!status.ok()) return status;
  return image;
}

// ---- PNG ----

struct PngSource {
  absl::string_view rest;
  std::jmp_buf escape;
  char text[128] = "";
};

[[noreturn]] void PngFail(png_structp png, png_const_charp message) {
  auto* source = static_cast<PngSource*>(png_get_error_ptr(png));
  std::snprintf(source->text, sizeof(source->text), "%s", message);
  std::longjmp(source->escape, 1);
}

void PngRead(png_structp png, png_bytep out, size_t size) {
  auto* source = static_cast<PngSource*>(png_get_io_ptr(png));
  if (source->rest.size() < size) PngFail(png, "truncated");
  std::memcpy(out, source->rest.data(), size);
  source->rest.remove_prefix(size);
}

struct PngHeader {
  uint32_t width = 0;
  uint32_t height = 0;
  int depth = 0;
  int colour = 0;
};

bool PngReadHeader(png_structp png, png_infop info, PngSource& source, PngHeader& header) {
  if (setjmp(source.escape) != 0) return false;
  png_set_read_fn(png, &source, PngRead);
  png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_set_user_limits(png, kMaxSide, kMaxSide);
  png_set_chunk_cache_max(png, 64);
  png_set_chunk_malloc_max(png, 1 << 20);
  png_read_info(png, info);
  header.width = png_get_image_width(png, info);
  header.height = png_get_image_height(png, info);
  header.depth = png_get_bit_depth(png, info);
  header.colour = png_get_color_type(png, info);
  return true;
}

// Reads all rows as 8-bit grey, RGB, grey-alpha or RGBA.
bool PngReadPixels(png_structp png, png_infop info, PngSource& source, int passes, size_t stride,
                   uint8_t* out) {
  if (setjmp(source.escape) != 0) return false;
  const uint32_t height = png_get_image_height(png, info);
  for (int pass = 0; pass < passes; ++pass) {
    for (uint32_t row = 0; row < height; ++row) png_read_row(png, out + row * stride, nullptr);
  }
  png_read_end(png, nullptr);
  return true;
}

bool PngPrepare(png_structp png, png_infop info, PngSource& source, const PngHeader& header,
                int& passes, size_t& stride) {
  if (setjmp(source.escape) != 0) return false;
  if (header.colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (png_get_valid(png, info, PNG_INFO_tRNS) != 0) png_set_tRNS_to_alpha(png);
  passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  stride = png_get_rowbytes(png, info);
  return true;
}

// Grey or RGB from `samples` per pixel, where an even count ends with alpha: composited on black.
PixelImage DropAlpha(const PngHeader& header, size_t stride, const std::vector<uint8_t>& rows) {
  PixelImage image;
  image.width = header.width;
  image.height = header.height;
  const size_t samples = stride / header.width;
  image.channels = samples <= 2 ? 1 : 3;
  const auto channels = static_cast<size_t>(image.channels);
  image.pixels.resize(size_t{header.width} * header.height * channels);
  for (size_t pixel = 0; pixel < size_t{header.width} * header.height; ++pixel) {
    const uint8_t* from = rows.data() + pixel * samples;
    const unsigned alpha = samples % 2 == 0 ? from[samples - 1] : 255;
    for (size_t c = 0; c < channels; ++c) {
      image.pixels[pixel * channels + c] = static_cast<uint8_t>((from[c] * alpha + 127) / 255);
    }
  }
  return image;
}

// Width and height in the first chunk; libpng's own limits do not say what was too large.
absl::Status PngCheckSize(absl::string_view bytes) {
  constexpr size_t kWidth = 16;
  constexpr size_t kHeight = 20;
  if (bytes.size() < kHeight + 4) return Invalid("PNG", "truncated");
  const auto big_endian = [&](size_t offset) {
    int64_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[offset + i]);
    return value;
  };
  return CheckSize(big_endian(kWidth), big_endian(kHeight));
}

absl::StatusOr<PixelImage> DecodePng(absl::string_view bytes) {
  RETURN_IF_ERROR(PngCheckSize(bytes));
  PngSource source{bytes, {}, ""};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, PngFail, PngFail);
  png_infop info = png_create_info_struct(png);
  PngHeader header;
  std::vector<uint8_t> rows;
  int passes = 0;
  size_t stride = 0;
  absl::Status status;
  if (!PngReadHeader(png, info, source, header)) {
    status = Invalid("PNG", source.text);
  } else if (header.depth != 8) {
    status = Invalid("PNG", absl::StrCat(header.depth, " bits per sample; only 8 are accepted"));
  }
  if (status.ok() && !PngPrepare(png, info, source, header, passes, stride)) {
    status = Invalid("PNG", source.text);
  }
  if (status.ok()) {
    rows.resize(stride * header.height);
    if (!PngReadPixels(png, info, source, passes, stride, rows.data())) {
      status = Invalid("PNG", source.text);
    } else if (!source.rest.empty()) {
      status = Invalid("PNG", "trailing bytes");
    }
  }
  png_destroy_read_struct(&png, &info, nullptr);
  if (!status.ok()) return status;
  return DropAlpha(header, stride, rows);
}

void AppendToString(png_structp png, png_bytep data, size_t size) {
  static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<char*>(data), size);
}

}  // namespace

absl::StatusOr<PixelImage> DecodeImage(absl::string_view bytes) {
  if (bytes.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("IMAGE_TOO_LARGE: ", bytes.size(), " bytes, at most ", kMaxFileBytes));
  }
  if (absl::StartsWith(bytes, "\x89PNG\r\n\x1a\n")) return DecodePng(bytes);
  if (absl::StartsWith(bytes, "\xff\xd8\xff")) return DecodeJpeg(bytes);
  return Invalid("file", bytes.empty() ? "it is empty" : "neither PNG nor JPEG");
}

std::string EncodePng(const PixelImage& image) {
  std::string bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &bytes, AppendToString, nullptr);
  png_set_compression_level(png, 6);
  png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_SUB);
  png_set_IHDR(png, info, static_cast<uint32_t>(image.width), static_cast<uint32_t>(image.height),
               8, image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  const auto stride = static_cast<size_t>(image.width * image.channels);
  for (int64_t row = 0; row < image.height; ++row) {
    png_write_row(png, image.pixels.data() + static_cast<size_t>(row) * stride);
  }
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return bytes;
}

}  // namespace adamant
