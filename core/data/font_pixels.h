// SPDX-License-Identifier: Apache-2.0
// The 5x7 bitmap font of pictures and of the data set `shapes`.
#pragma once

#include <array>
#include <cstdint>

namespace adamant {

constexpr int kGlyphRows = 7;
constexpr int kGlyphColumns = 5;

// Rows top to bottom, bit 4 = left column. Characters outside printable ASCII give '?'.
const std::array<uint8_t, kGlyphRows>& Glyph(char character);

}  // namespace adamant
