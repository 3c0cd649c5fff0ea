// SPDX-License-Identifier: Apache-2.0
#include "server/store/metric_thinning.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace adamant {
namespace {

bool Less(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
  return a < b;
}

}  // namespace

std::vector<size_t> ThinnedPositions(const std::vector<double>& values, int max_points) {
  std::vector<size_t> kept;
  if (values.size() <= static_cast<size_t>(std::max(max_points, 0))) {
    kept.resize(values.size());
    std::iota(kept.begin(), kept.end(), 0);
    return kept;
  }
  if (max_points < 2) return {values.size() - 1};
  const size_t buckets = static_cast<size_t>(max_points - 2) / 2;
  const size_t between = values.size() - 2;
  kept.reserve(2 * buckets + 2);
  kept.push_back(0);
  for (size_t i = 0; i < buckets; ++i) {
    const auto begin = values.begin() + 1 + static_cast<ptrdiff_t>(between * i / buckets);
    const auto end = values.begin() + 1 + static_cast<ptrdiff_t>(between * (i + 1) / buckets);
    auto [low, high] = std::minmax_element(begin, end, Less);
    if (high < low) std::swap(low, high);
    if (low != high) kept.push_back(static_cast<size_t>(low - values.begin()));
    kept.push_back(static_cast<size_t>(high - values.begin()));
  }
  kept.push_back(values.size() - 1);
  return kept;
}

std::vector<v1::MetricPoint> ThinSeries(std::vector<v1::MetricPoint> points, int max_points) {
  std::vector<double> values;
  values.reserve(points.size());
  for (const v1::MetricPoint& point : points) values.push_back(point.value());
  std::vector<v1::MetricPoint> kept;
  for (const size_t position : ThinnedPositions(values, max_points))
    kept.push_back(std::move(points[position]));
  return kept;
}

}  // namespace adamant
