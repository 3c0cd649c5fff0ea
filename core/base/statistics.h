// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "adamant/v1/attack.pb.h"

namespace adamant {

constexpr double kZ95 = 1.959964;  // two-sided 95 % point of the normal distribution

// `correct` of `total` with its Wilson score interval: centre (p + z^2/2n) / (1 + z^2/n), half
// width z * sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n). total = 0: ratio 0, interval [0, 1].
v1::Accuracy MakeAccuracy(int64_t correct, int64_t total, double z = kZ95);

// The z of a two-sided confidence level in (0,1), e.g. 0.95 -> 1.959964 (to 1e-6).
double NormalQuantile(double confidence_level);

}  // namespace adamant
