// SPDX-License-Identifier: Apache-2.0
// Pictures of maps, and a canvas to put them together (explanations.md 5.1 and 5.2).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/data/image_file.h"

namespace adamant {

// [C,H,W], C 1 or 3 -> [3, H*scale, W*scale], each pixel repeated.
at::Tensor Enlarge(const at::Tensor& image, int64_t scale);

// (1 - opacity) image + opacity colours; all [3,H,W] in [0,1].
at::Tensor Overlay(const at::Tensor& image, const at::Tensor& colours, double opacity);

struct Colour {
  uint8_t red = 0;
  uint8_t green = 0;
  uint8_t blue = 0;
};

// An RGB picture that is drawn on; what lies outside is cut off. Not thread-safe.
class Canvas {
 public:
  Canvas(int64_t width, int64_t height, Colour background);

  void Rectangle(int64_t left, int64_t top, int64_t width, int64_t height, Colour colour);
  void Paste(int64_t left, int64_t top, const PixelImage& picture);
  // 5x7 glyphs with one column between them, each pixel `scale` wide.
  void Text(int64_t left, int64_t top, absl::string_view text, Colour colour, int64_t scale);
  static int64_t TextWidth(absl::string_view text, int64_t scale);

  const PixelImage& picture() const { return picture_; }

 private:
  PixelImage picture_;
};

// One picture of a sheet with up to two caption lines below it.
struct Tile {
  PixelImage picture;  // RGB
  std::string first_line;
  std::string second_line;
  bool wrong = false;  // red frame and cross mark: a wrong prediction
};

struct SheetRow {
  std::string title;     // sample
  std::string subtitle;  // true class
  std::vector<Tile> tiles;
};

// A vertical strip of all colours, with what its ends mean.
struct ColourBar {
  PixelImage picture;
  std::string high;
  std::string low;
};

// A table of pictures: a header per column, a title per row, colour bars at the right.
struct Sheet {
  std::vector<std::string> columns;
  std::vector<SheetRow> rows;  // every tile of the same size
  std::vector<ColourBar> bars;
  std::string footer;
};

PixelImage DrawSheet(const Sheet& sheet);

}  // namespace adamant
