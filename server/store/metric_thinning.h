// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "adamant/v1/job.pb.h"

namespace adamant {

// Which of the values of one series, which stand in the order of their steps, to keep so that at
// most `max_points` (>= 1) remain and the curve keeps its shape: the first and the last, and the
// smallest and the largest of each of (max_points - 2) / 2 buckets of equally many values between
// them. A NaN counts as larger than every number, so that a broken loss stays visible. Positions
// ascend; a series that is short enough is kept whole. O(values).
std::vector<size_t> ThinnedPositions(const std::vector<double>& values, int max_points);

// The points of one series that remain, in their order.
std::vector<v1::MetricPoint> ThinSeries(std::vector<v1::MetricPoint> points, int max_points);

}  // namespace adamant
