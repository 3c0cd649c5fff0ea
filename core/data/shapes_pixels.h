// SPDX-License-Identifier: Apache-2.0
// The pixels of the procedural data set `shapes`: integer arithmetic only, so the images are the
// same on every machine (models_and_datasets.md 5).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace adamant {

constexpr int kGlyphSide = 28;
constexpr int kGeoSide = 32;

struct ShapeBox {
  int top = 0;
  int left = 0;
  int bottom = 0;  // exclusive
  int right = 0;
};

// Draws samples of one data set. Immutable, thread-safe.
class ShapePainter {
 public:
  // side: kGlyphSide draws digits [1,28,28], kGeoSide coloured shapes [3,32,32].
  ShapePainter(int side, uint64_t seed, double hint, int distractors);

  // image: channels()*side*side bytes; mask: side*side bytes of 0 or 1. split: 0 train, 1 test.
  ShapeBox Paint(uint32_t sample, uint32_t split, uint8_t* image, uint8_t* mask) const;

  int side() const { return side_; }
  int channels() const { return side_ == kGlyphSide ? 1 : 3; }

 private:
  using Words = std::vector<uint32_t>;
  Words Draw(uint32_t sample, uint32_t split, uint32_t stream, int count) const;
  ShapeBox PaintGlyph(uint32_t sample, uint32_t split, uint8_t* image, uint8_t* mask) const;
  ShapeBox PaintGeo(uint32_t sample, uint32_t split, uint8_t* image, uint8_t* mask) const;
  int Texture(int label, int row, int col) const;

  int side_;
  std::array<uint32_t, 2> key_;
  int distractors_;
  std::vector<int> sinusoid_;
};

}  // namespace adamant
