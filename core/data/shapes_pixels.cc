// SPDX-License-Identifier: Apache-2.0
#include "core/data/shapes_pixels.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/base/rng.h"
#include "core/data/font_pixels.h"

namespace adamant {
namespace {

constexpr int kClasses = 10;

int Pick(uint32_t word, uint32_t n) { return static_cast<int>(uint64_t{word} * n >> 32); }

// A value of [0, range) in Q16 from the upper half of the word.
int Scaled(uint32_t word, int64_t range) {
  return static_cast<int>(int64_t{word >> 16} * range >> 16);
}

uint8_t ToByte(int value) {
  return static_cast<uint8_t>((int64_t{std::clamp(value, 0, 65535)} * 255 + 32768) >> 16);
}

bool InsideShape(int label, int dy, int dx, int r) {
  const int ay = std::abs(dy);
  const int ax = std::abs(dx);
  const int distance = dx * dx + dy * dy;
  const int larger = std::max(ax, ay);
  const int smaller = std::min(ax, ay);
  switch (label) {
    case 0:
      return distance <= r * r;
    case 1:
      return 5 * larger <= 4 * r;
    case 2:
      return ax + ay <= r;
    case 3:
      return ay <= r && 2 * ax <= dy + r;
    case 4:
      return ay <= r && 2 * ax <= r - dy;
    case 5:
      return distance <= r * r && 4 * distance >= r * r;
    case 6:
      return larger <= r && 3 * smaller <= r;
    case 7:
      return larger <= r && 3 * std::abs(ax - ay) <= r;
    case 8:
      return larger <= r && 3 * ay >= r;
    default:
      return larger <= r && 3 * ax >= r;
  }
}

}  // namespace

ShapePainter::ShapePainter(int side, uint64_t seed, double hint, int distractors)
    : side_(side),
      key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
      distractors_(distractors) {
  constexpr double kTwoPi = 6.283185307179586476925286766559;
  for (int m = 0; m < side; ++m) {
    sinusoid_.push_back(
        static_cast<int>(std::floor(hint * 65536 * std::sin(kTwoPi * m / side) + 0.5)));
  }
}

ShapePainter::Words ShapePainter::Draw(uint32_t sample, uint32_t split, uint32_t stream,
                                       int count) const {
  Words words(static_cast<size_t>((count + 3) / 4 * 4));
  for (size_t i = 0; i < words.size(); i += 4) {
    const PhiloxCounter block = Philox({sample, split, stream, static_cast<uint32_t>(i / 4)}, key_);
    std::copy(block.begin(), block.end(), words.begin() + static_cast<ptrdiff_t>(i));
  }
  return words;
}

// A class-coded pattern too weak to see, strong enough to learn from: a non-robust feature.
int ShapePainter::Texture(int label, int row, int col) const {
  return sinusoid_[((label % 5 + 2) * col + (3 * (label / 5) + 1) * row) % side_];
}

ShapeBox ShapePainter::Paint(uint32_t sample, uint32_t split, uint8_t* image, uint8_t* mask) const {
  return side_ == kGlyphSide ? PaintGlyph(sample, split, image, mask)
                             : PaintGeo(sample, split, image, mask);
}

ShapeBox ShapePainter::PaintGlyph(uint32_t sample, uint32_t split, uint8_t* image,
                                  uint8_t* mask) const {
  constexpr int kSide = kGlyphSide;
  const int label = static_cast<int>(sample % kClasses);
  const Words header = Draw(sample, split, 0, 22);
  const Words background = Draw(sample, split, 1, kSide * kSide);
  const Words foreground = Draw(sample, split, 2, kSide * kSide);
  std::array<int, kSide * kSide> v;
  for (int p = 0; p < kSide * kSide; ++p) v[p] = Scaled(background[p], 19661);

  const int scale = 2 + static_cast<int>(header[0] >> 31);
  const int top = Pick(header[1], kSide - 7 * scale + 1);
  const int left = Pick(header[2], kSide - 5 * scale + 1);
  const ShapeBox box{top, left, top + 7 * scale, left + 5 * scale};

  for (int d = 0; d < distractors_; ++d) {
    const uint32_t* h = &header[d < 2 ? 3 + 3 * d : 10 + 3 * d];
    const int a = Pick(h[0], 24);
    const int b = Pick(h[1], 24);
    if (a < box.bottom && a + 4 > box.top && b < box.right && b + 4 > box.left) continue;
    const int grey = 26214 + Scaled(h[2], 39322);
    for (int row = a; row < a + 3; ++row) std::fill_n(&v[row * kSide + b], 3, grey);
  }

  std::memset(mask, 0, kSide * kSide);
  const int64_t intensity = 36045 + Scaled(header[9], 29491);
  for (int row = box.top; row < box.bottom; ++row) {
    for (int col = box.left; col < box.right; ++col) {
      const uint8_t bits =
          Glyph(static_cast<char>('0' + label))[static_cast<size_t>((row - top) / scale)];
      if ((bits >> (4 - (col - left) / scale) & 1) == 0) continue;
      const int p = row * kSide + col;
      mask[p] = 1;
      v[p] = static_cast<int>(intensity * (52429 + Scaled(foreground[p], 13107)) >> 16);
    }
  }
  for (int row = 0; row < kSide; ++row) {
    for (int col = 0; col < kSide; ++col) {
      const int p = row * kSide + col;
      image[p] = ToByte(v[p] + Texture(label, row, col));
    }
  }
  return box;
}

ShapeBox ShapePainter::PaintGeo(uint32_t sample, uint32_t split, uint8_t* image,
                                uint8_t* mask) const {
  constexpr int kSide = kGeoSide;
  constexpr int kPixels = kSide * kSide;
  const int label = static_cast<int>(sample % kClasses);
  const Words header = Draw(sample, split, 0, 9);
  const Words noise = Draw(sample, split, 1, 3 * kPixels);
  const int r = 6 + Pick(header[0], 5);
  const int cy = r + Pick(header[1], kSide - 2 * r);
  const int cx = r + Pick(header[2], kSide - 2 * r);
  ShapeBox box{kSide, kSide, 0, 0};
  for (int row = 0; row < kSide; ++row) {
    for (int col = 0; col < kSide; ++col) {
      const int p = row * kSide + col;
      const bool inside = InsideShape(label, row - cy, col - cx, r);
      mask[p] = inside ? 1 : 0;
      if (inside) {
        box = {std::min(box.top, row), std::min(box.left, col), std::max(box.bottom, row + 1),
               std::max(box.right, col + 1)};
      }
      for (int c = 0; c < 3; ++c) {
        const int flat =
            inside ? 39322 + Scaled(header[6 + c], 26214) : Scaled(header[3 + c], 26214);
        const int grain = Scaled(noise[kPixels * c + p], 7864) - 3932;
        image[kPixels * c + p] = ToByte(flat + grain + Texture(label, row, col));
      }
    }
  }
  return box;
}

}  // namespace adamant
