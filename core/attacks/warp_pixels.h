// SPDX-License-Identifier: Apache-2.0
// Filters and geometry on plain images, values in CHW order.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/attacks/square_pixels.h"

namespace adamant {

// How the image moves: turned about its centre, then shifted.
struct Pose {
  double degrees = 0;
  double down = 0;
  double right = 0;
};

// Bilinear; zeros from outside.
void MovePixels(const PlaneShape& shape, const Pose& pose, const float* image, float* out);

// What a plane shows at a place between its pixels; outside it the border goes on, or is mirrored
// without repeating it.
double Bilinear(const PlaneShape& shape, const float* plane, double row, double column,
                bool mirror = false);

// Separable Gaussian of standard deviation `sigma`, cut at `truncate` of them; the border goes on,
// or is mirrored (the border pixel twice).
void BlurPlane(int64_t height, int64_t width, double sigma, double truncate, bool mirror,
               float* plane);

// A square kernel of odd side, centred; the border is mirrored without repeating it.
void FilterPlane(const PlaneShape& shape, const std::vector<double>& kernel, int64_t side,
                 const float* plane, float* out);

}  // namespace adamant
