// SPDX-License-Identifier: Apache-2.0
#include "core/base/statistics.h"

#include <algorithm>
#include <cmath>

namespace adamant {

v1::Accuracy MakeAccuracy(int64_t correct, int64_t total, double z) {
  v1::Accuracy out;
  out.set_correct(correct);
  out.set_total(total);
  out.set_high(1);
  if (total == 0) return out;
  const auto n = static_cast<double>(total);
  const double p = static_cast<double>(correct) / n;
  const double scale = 1 + z * z / n;
  const double centre = (p + z * z / (2 * n)) / scale;
  const double half = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale;
  out.set_ratio(p);
  out.set_low(correct == 0 ? 0 : std::max(0.0, centre - half));
  out.set_high(correct == total ? 1 : std::min(1.0, centre + half));
  return out;
}

double NormalQuantile(double confidence_level) {
  double low = 0;
  double high = 10;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (std::erf(middle / std::sqrt(2.0)) < confidence_level ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace adamant
