// SPDX-License-Identifier: Apache-2.0
#include "core/explainers/picture.h"

#include <algorithm>

#include "core/base/torch.h"
#include "core/data/font_pixels.h"

namespace adamant {
namespace {

constexpr int64_t kGap = 6;
constexpr Colour kPaper{255, 255, 255};
constexpr Colour kInk{34, 34, 34};
constexpr Colour kFaint{110, 110, 110};
constexpr Colour kWrong{204, 0, 0};
constexpr int64_t kFrame = 3;
constexpr int64_t kPitch = kGlyphColumns + 1;

// Where things are on a sheet.
struct Layout {
  int64_t tile_width = 0;
  int64_t tile_height = 0;
  int64_t text_scale = 1;
  int64_t line = 0;   // height of a text line
  int64_t left = 0;   // of the first tile
  int64_t top = 0;    // of the first tile
  int64_t row = 0;    // distance between rows
  int64_t right = 0;  // behind the last tile
  int64_t width = 0;
  int64_t height = 0;

  int64_t TileLeft(size_t column) const {
    return left + static_cast<int64_t>(column) * (tile_width + kGap);
  }
};

int64_t LongestCaption(const Sheet& sheet) {
  size_t longest = 0;
  for (const std::string& column : sheet.columns) longest = std::max(longest, column.size());
  for (const SheetRow& row : sheet.rows) {
    for (const Tile& tile : row.tiles) {
      longest = std::max({longest, tile.first_line.size(), tile.second_line.size()});
    }
  }
  return static_cast<int64_t>(longest);
}

int64_t BarWidth(const ColourBar& bar, const Layout& at) {
  return std::max({bar.picture.width, Canvas::TextWidth(bar.high, at.text_scale),
                   Canvas::TextWidth(bar.low, at.text_scale)});
}

Layout Arrange(const Sheet& sheet) {
  Layout at;
  at.tile_width = sheet.rows.at(0).tiles.at(0).picture.width;
  at.tile_height = sheet.rows.at(0).tiles.at(0).picture.height;
  at.text_scale = LongestCaption(sheet) * kPitch * 2 <= at.tile_width ? 2 : 1;
  at.line = (kGlyphRows + 3) * at.text_scale;
  int64_t titles = 0;
  for (const SheetRow& row : sheet.rows) {
    titles = std::max({titles, Canvas::TextWidth(row.title, at.text_scale),
                       Canvas::TextWidth(row.subtitle, at.text_scale)});
  }
  at.left = kGap + titles + 2 * kGap;
  at.top = kGap + at.line + kGap;
  at.row = at.tile_height + 4 + 2 * at.line + kGap;
  at.right = at.TileLeft(sheet.columns.size());
  at.width = at.right + kGap;
  for (const ColourBar& bar : sheet.bars) at.width += BarWidth(bar, at) + kGap;
  at.height = at.top + static_cast<int64_t>(sheet.rows.size()) * at.row;
  if (!sheet.footer.empty()) {
    at.height += at.line;
    at.width = std::max(at.width, 2 * kGap + Canvas::TextWidth(sheet.footer, 1));
  }
  return at;
}

// A frame around the tile and a cross in its corner.
void MarkWrong(Canvas& canvas, int64_t left, int64_t top, const Layout& at) {
  canvas.Rectangle(left, top, at.tile_width, kFrame, kWrong);
  canvas.Rectangle(left, top + at.tile_height - kFrame, at.tile_width, kFrame, kWrong);
  canvas.Rectangle(left, top, kFrame, at.tile_height, kWrong);
  canvas.Rectangle(left + at.tile_width - kFrame, top, kFrame, at.tile_height, kWrong);
  constexpr int64_t kMark = 18;
  const int64_t x = left + at.tile_width - kMark - kFrame;
  const int64_t y = top + kFrame;
  canvas.Rectangle(x, y, kMark, kMark, kPaper);
  for (int64_t i = 3; i < kMark - 5; ++i) {
    canvas.Rectangle(x + i, y + i, 3, 3, kWrong);
    canvas.Rectangle(x + kMark - 3 - i, y + i, 3, 3, kWrong);
  }
}

void DrawTile(Canvas& canvas, const Tile& tile, int64_t left, int64_t top, const Layout& at) {
  canvas.Paste(left, top, tile.picture);
  if (tile.wrong) MarkWrong(canvas, left, top, at);
  const int64_t below = top + at.tile_height + 4;
  canvas.Text(left, below, tile.first_line, tile.wrong ? kWrong : kInk, at.text_scale);
  canvas.Text(left, below + at.line, tile.second_line, kFaint, at.text_scale);
}

void DrawBars(Canvas& canvas, const Sheet& sheet, const Layout& at) {
  const int64_t below = at.top + at.tile_height + 4;
  int64_t left = at.right;
  for (const ColourBar& bar : sheet.bars) {
    canvas.Text(left, kGap, bar.high, kInk, at.text_scale);
    canvas.Paste(left, at.top, bar.picture);
    canvas.Text(left, below, bar.low, kInk, at.text_scale);
    left += BarWidth(bar, at) + kGap;
  }
}

}  // namespace

at::Tensor Enlarge(const at::Tensor& image, int64_t scale) {
  return image.expand({3, -1, -1}).repeat_interleave(scale, 1).repeat_interleave(scale, 2);
}

at::Tensor Overlay(const at::Tensor& image, const at::Tensor& colours, double opacity) {
  return (1 - opacity) * image + opacity * colours;
}

Canvas::Canvas(int64_t width, int64_t height, Colour background)
    : picture_{width, height, 3, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))} {
  Rectangle(0, 0, width, height, background);
}

void Canvas::Rectangle(int64_t left, int64_t top, int64_t width, int64_t height, Colour colour) {
  for (int64_t y = std::max<int64_t>(top, 0); y < std::min(top + height, picture_.height); ++y) {
    for (int64_t x = std::max<int64_t>(left, 0); x < std::min(left + width, picture_.width); ++x) {
      uint8_t* pixel = &picture_.pixels[static_cast<size_t>((y * picture_.width + x) * 3)];
      pixel[0] = colour.red;
      pixel[1] = colour.green;
      pixel[2] = colour.blue;
    }
  }
}

void Canvas::Paste(int64_t left, int64_t top, const PixelImage& picture) {
  const int64_t first = std::max<int64_t>(0, -left);
  const int64_t last = std::min(picture.width, picture_.width - left);
  if (first >= last) return;
  for (int64_t y = std::max<int64_t>(0, -top); y < std::min(picture.height, picture_.height - top);
       ++y) {
    const auto from = picture.pixels.begin() + (y * picture.width + first) * 3;
    std::copy(from, from + (last - first) * 3,
              picture_.pixels.begin() + ((top + y) * picture_.width + left + first) * 3);
  }
}

void Canvas::Text(int64_t left, int64_t top, absl::string_view text, Colour colour, int64_t scale) {
  for (const char character : text) {
    const auto& rows = Glyph(character);
    for (int64_t y = 0; y < kGlyphRows; ++y) {
      for (int64_t x = 0; x < kGlyphColumns; ++x) {
        if ((rows[static_cast<size_t>(y)] >> (kGlyphColumns - 1 - x) & 1) == 0) continue;
        Rectangle(left + x * scale, top + y * scale, scale, scale, colour);
      }
    }
    left += kPitch * scale;
  }
}

int64_t Canvas::TextWidth(absl::string_view text, int64_t scale) {
  return static_cast<int64_t>(text.size()) * kPitch * scale;
}

PixelImage DrawSheet(const Sheet& sheet) {
  const Layout at = Arrange(sheet);
  Canvas canvas(at.width, at.height, kPaper);
  for (size_t column = 0; column < sheet.columns.size(); ++column) {
    canvas.Text(at.TileLeft(column), kGap, sheet.columns[column], kInk, at.text_scale);
  }
  int64_t top = at.top;
  for (const SheetRow& row : sheet.rows) {
    canvas.Text(kGap, top, row.title, kInk, at.text_scale);
    canvas.Text(kGap, top + at.line, row.subtitle, kFaint, at.text_scale);
    for (size_t column = 0; column < row.tiles.size(); ++column) {
      DrawTile(canvas, row.tiles[column], at.TileLeft(column), top, at);
    }
    top += at.row;
  }
  DrawBars(canvas, sheet, at);
  canvas.Text(kGap, at.height - at.line, sheet.footer, kFaint, 1);
  return canvas.picture();
}

}  // namespace adamant
