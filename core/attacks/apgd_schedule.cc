// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/apgd_schedule.h"

#include <algorithm>

namespace adamant {

std::vector<int64_t> ApgdWindows(Norm norm, int64_t steps) {
  const auto share = [steps](double part) {
    return std::max<int64_t>(1, static_cast<int64_t>(part * static_cast<double>(steps)));
  };
  std::vector<int64_t> windows;
  const int64_t shorter = norm == Norm::kL1 ? 0 : share(0.03);
  int64_t length = share(norm == Norm::kL1 ? 0.04 : 0.22);
  for (int64_t covered = 0; covered < steps; covered += windows.back()) {
    windows.push_back(length);
    if (shorter > 0) length = std::max(length - shorter, share(0.06));
  }
  return windows;
}

std::vector<ApgdBall> ApgdBalls(const ThreatModel& threat, int64_t steps) {
  std::vector<ApgdBall> balls;
  int64_t done = 0;
  for (const int64_t times : {3, 2, 1}) {
    const int64_t left = steps - done;
    const int64_t taken = times == 1 ? left : std::min((3 * steps + 9) / 10, left - 1);
    if (taken == 0) continue;
    balls.push_back({threat, done, taken, times == 1});
    balls.back().threat.epsilon = static_cast<double>(times) * threat.epsilon;
    done += taken;
  }
  return balls;
}

}  // namespace adamant
