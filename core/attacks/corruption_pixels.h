// SPDX-License-Identifier: Apache-2.0
// The corruptions of Hendrycks and Dietterich 2019 on one image, values in [0,1] in CHW order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/attacks/square_pixels.h"
#include "core/base/rng.h"

namespace adamant {

std::vector<std::string> CorruptionTypes();

// `type` at severity 1..5 with the constants for 32 pixels, or for 224 where a side exceeds 64.
// Throws std::invalid_argument for an unknown type.
void Corrupt(const std::string& type, int64_t severity, const PlaneShape& shape, const Rng& rng,
             float* image);

// A cloud texture in [0,1], [side,side] for a power of two, by midpoint displacement on a torus;
// its roughness falls by `decay` from one scale to the next.
std::vector<double> PlasmaFractal(int64_t side, double decay, const Rng& rng);

// Through a JPEG file of this quality, 4:2:0. 1 or 3 channels, others stay as they are.
void ThroughJpeg(const PlaneShape& shape, int quality, float* image);

}  // namespace adamant
