// SPDX-License-Identifier: Apache-2.0
#include "core/data/image_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "common/files.h"
#include "tests/support/test_data.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const char kSignature[] = "\x89PNG\r\n\x1a\n";

PixelImage Gradient(int64_t width, int64_t height, int64_t channels) {
  PixelImage image{width, height, channels, {}};
  for (int64_t i = 0; i < width * height * channels; ++i) {
    image.pixels.push_back(static_cast<uint8_t>(i * 7 % 256));
  }
  return image;
}

std::string BigEndian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

uint32_t Crc(const std::string& bytes) {
  uint32_t crc = 0xffffffff;
  for (const char byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
  }
  return ~crc;
}

std::string Chunk(const std::string& type, const std::string& data) {
  return BigEndian(static_cast<uint32_t>(data.size())) + type + data + BigEndian(Crc(type + data));
}

// A PNG of correct form up to its pixels, which are missing.
std::string HeaderOnly(uint32_t width, uint32_t height, char depth) {
  return std::string(kSignature) +
         Chunk("IHDR", BigEndian(width) + BigEndian(height) + depth + std::string("\2\0\0\0", 4)) +
         Chunk("IDAT", "x") + Chunk("IEND", "");
}

std::vector<std::string> ChunkTypes(const std::string& png) {
  std::vector<std::string> types;
  for (size_t at = 8; at + 8 <= png.size();) {
    uint32_t size = 0;
    for (size_t i = 0; i < 4; ++i) size = size << 8 | static_cast<uint8_t>(png[at + i]);
    types.push_back(png.substr(at + 4, 4));
    at += 12 + size;
  }
  return types;
}

std::string Refusal(const std::string& bytes) {
  const absl::StatusOr<PixelImage> image = DecodeImage(bytes);
  EXPECT_EQ(image.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(image.status().message());
}

TEST(PngFile, RoundTripsGreyAndColourToTheByte) {
  for (const int64_t channels : {1, 3}) {
    const PixelImage image = Gradient(13, 5, channels);
    const auto back = DecodeImage(EncodePng(image));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->width, 13);
    EXPECT_EQ(back->height, 5);
    EXPECT_EQ(back->channels, channels);
    EXPECT_EQ(back->pixels, image.pixels);
  }
}

TEST(PngFile, HasNoOptionalChunksAndTheSameBytesEachTime) {
  const PixelImage image = Gradient(40, 30, 3);
  const std::string png = EncodePng(image);
  EXPECT_THAT(ChunkTypes(png), ElementsAre("IHDR", "IDAT", "IEND"));
  EXPECT_EQ(png, EncodePng(image));
}

TEST(PngFile, EveryTruncationIsRefused) {
  const std::string png = EncodePng(Gradient(64, 64, 3));
  for (size_t size = 8; size < png.size(); size += 64) {
    EXPECT_THAT(Refusal(png.substr(0, size)), HasSubstr("IMAGE_INVALID")) << size;
  }
}

TEST(PngFile, AWrongChecksumIsRefused) {
  std::string png = EncodePng(Gradient(16, 16, 3));
  png[png.size() - 14] ^= 1;  // in the checksum of IDAT
  EXPECT_THAT(Refusal(png), HasSubstr("IMAGE_INVALID: PNG"));
}

TEST(PngFile, SixteenBitsAreRefused) {
  EXPECT_THAT(Refusal(HeaderOnly(4, 4, 16)), HasSubstr("16 bits per sample"));
}

TEST(PngFile, SizeIsRefusedFromTheHeader) {
  EXPECT_THAT(Refusal(HeaderOnly(9000, 10, 8)), HasSubstr("IMAGE_TOO_LARGE"));
  EXPECT_THAT(Refusal(HeaderOnly(8192, 8192, 8)), HasSubstr("IMAGE_TOO_LARGE"));
}

TEST(ImageFile, OtherBytesAreRefused) {
  EXPECT_THAT(Refusal(""), HasSubstr("empty"));
  EXPECT_THAT(Refusal("GIF89a....."), HasSubstr("neither PNG nor JPEG"));
}

std::string GolfBall() {
  return *ReadFile(testing::TestDataFolder() + "/imagenet-samples/n03445777_golf_ball.JPEG");
}

// Offset of the frame header's precision byte, followed by height and width.
size_t FrameAt(const std::string& jpeg) {
  size_t at = 2;
  while (true) {
    const auto marker = static_cast<uint8_t>(jpeg[at + 1]);
    if (marker >= 0xc0 && marker <= 0xc2) return at + 4;
    at += 2 + (static_cast<uint8_t>(jpeg[at + 2]) << 8) + static_cast<uint8_t>(jpeg[at + 3]);
  }
}

TEST(JpegFile, APhotographDecodesToItsSize) {
  REQUIRE_TEST_DATA();
  const std::string jpeg = GolfBall();
  const size_t at = FrameAt(jpeg);
  const auto side = [&](size_t offset) {
    return (static_cast<uint8_t>(jpeg[at + offset]) << 8) +
           static_cast<uint8_t>(jpeg[at + offset + 1]);
  };
  const auto image = DecodeImage(jpeg);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->height, side(1));
  EXPECT_EQ(image->width, side(3));
  const auto [low, high] = std::minmax_element(image->pixels.begin(), image->pixels.end());
  EXPECT_LT(*low, 50);
  EXPECT_GT(*high, 200);
}

TEST(JpegFile, EveryTruncationIsRefused) {
  REQUIRE_TEST_DATA();
  const std::string jpeg = GolfBall();
  for (size_t size = 64; size < jpeg.size() - 2; size += 512) {
    EXPECT_THAT(Refusal(jpeg.substr(0, size)), HasSubstr("IMAGE_INVALID: JPEG")) << size;
  }
}

TEST(JpegFile, SizeIsRefusedFromTheHeader) {
  REQUIRE_TEST_DATA();
  std::string jpeg = GolfBall();
  jpeg[FrameAt(jpeg) + 1] = 0x40;  // 16384 rows and more
  EXPECT_THAT(Refusal(jpeg), HasSubstr("IMAGE_TOO_LARGE"));
}

TEST(JpegFile, TwelveBitsAreRefused) {
  REQUIRE_TEST_DATA();
  std::string jpeg = GolfBall();
  jpeg[FrameAt(jpeg)] = 12;
  EXPECT_THAT(Refusal(jpeg), HasSubstr("IMAGE_INVALID"));
}

}  // namespace
}  // namespace adamant
