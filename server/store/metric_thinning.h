// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "adamant/v1/job.pb.h"

namespace adamant {

// At most `max_points` (>= 1) points of one series, which stands in the order of its steps, so that
// its curve keeps its shape: the first and the last point, and the smallest and the largest value
// of each of (max_points - 2) / 2 buckets of equally many points between them. A NaN counts as
// larger than every number, so that a broken loss stays visible. What remains keeps its order; a
// series that is short enough comes back whole. O(points).
std::vector<v1::MetricPoint> ThinSeries(std::vector<v1::MetricPoint> points, int max_points);

}  // namespace adamant
