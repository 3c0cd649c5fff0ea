// SPDX-License-Identifier: Apache-2.0
#include "server/store/metric_thinning.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

namespace adamant {
namespace {

bool Less(const v1::MetricPoint& a, const v1::MetricPoint& b) {
  if (std::isnan(a.value()) || std::isnan(b.value()))
    return !std::isnan(a.value()) && std::isnan(b.value());
  return a.value() < b.value();
}

}  // namespace

std::vector<v1::MetricPoint> ThinSeries(std::vector<v1::MetricPoint> points, int max_points) {
  if (points.size() <= static_cast<size_t>(std::max(max_points, 0))) return points;
  if (max_points < 2) return {std::move(points.back())};
  const size_t buckets = static_cast<size_t>(max_points - 2) / 2;
  const size_t between = points.size() - 2;
  std::vector<v1::MetricPoint> kept;
  kept.reserve(2 * buckets + 2);
  kept.push_back(std::move(points.front()));
  for (size_t i = 0; i < buckets; ++i) {
    const auto begin = points.begin() + 1 + static_cast<ptrdiff_t>(between * i / buckets);
    const auto end = points.begin() + 1 + static_cast<ptrdiff_t>(between * (i + 1) / buckets);
    auto [low, high] = std::minmax_element(begin, end, Less);
    if (high < low) std::swap(low, high);
    if (low != high) kept.push_back(std::move(*low));
    kept.push_back(std::move(*high));
  }
  kept.push_back(std::move(points.back()));
  return kept;
}

}  // namespace adamant
