// SPDX-License-Identifier: Apache-2.0
// The proposals of Square on plain memory: schedule, windows, and what a window does to an image.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/base/rng.h"

namespace adamant {

// Extent of one image, values in CHW order.
struct PlaneShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;

  int64_t plane() const { return height * width; }
  int64_t size() const { return channels * plane(); }
};

// Share of the image that a window covers: p_init, divided by 2, 4, ..., 512 after iteration 10,
// 50, 200, 500, 1000, 2000, 4000, 6000 and 8000.
double SquareShare(double p_init, int64_t iteration);
// Side of a window that covers that share: LINF.
int64_t SquareSide(double share, const PlaneShape& planes);
// The same for L2 and L1: odd and at least 3, where the image has room.
int64_t PyramidSide(double share, const PlaneShape& planes);

// Two pyramids of opposite sign, one above the other, [side,side] with norm 1. A ring at distance r
// adds 1/(r+1)^2 to all within it and the norm is L2, or 1/(r+1)^4 and L1.
std::vector<float> Pyramids(int64_t side, bool l1);

// What one proposal draws, beside a sign for each channel.
struct SquareMove {
  int64_t row = 0;  // the window that changes
  int64_t column = 0;
  int64_t row2 = 0;  // the window that gives up its mass: L2 and L1
  int64_t column2 = 0;
  bool turned = false;  // the pyramids lie side by side
};

// Words 0..3 of the place are the positions, 4 is the turn, the signs follow. `exclusive` leaves
// the last row and column of positions out. `words` is memory for 5 + channels words.
SquareMove DrawMove(const Rng& rng, const DrawAt& at, const PlaneShape& planes, int64_t side,
                    bool exclusive, absl::Span<uint32_t> words, float* signs);

// LINF: each channel's window becomes `high` where its sign is +1, else `low`. `before` takes what
// was there, RestoreWindow puts it back.
void PutWindow(const PlaneShape& planes, const SquareMove& move, int64_t side, const float* signs,
               const float* low, const float* high, float* image, float* before);
void RestoreWindow(const PlaneShape& planes, const SquareMove& move, int64_t side,
                   const float* before, float* image);

struct MassBudget {
  bool l1 = false;  // else L2
  double epsilon = 0;
  float clip_min = 0;
  float clip_max = 1;
};

// L2 and L1: `image` becomes x plus the change of `best` after the second window's mass, and what
// epsilon leaves, went to the first. `window` is memory for side * side values.
void MoveMass(const PlaneShape& planes, const MassBudget& budget, const SquareMove& move,
              int64_t side, const float* signs, const float* pyramids, const float* x,
              const float* best, float* image, absl::Span<float> window);

// `values` = a change of x on entry; on return x plus its Euclidean projection onto the L1 ball cut
// by the box.
void ProjectChangeL1(int64_t count, double radius, const MassBudget& box, const float* x,
                     float* values);

}  // namespace adamant
