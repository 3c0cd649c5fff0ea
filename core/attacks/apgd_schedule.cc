// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/apgd_schedule.h"

#include <algorithm>

namespace adamant {

std::vector<int64_t> ApgdWindows(int64_t steps) {
  const auto share = [steps](double part) {
    return std::max<int64_t>(1, static_cast<int64_t>(part * static_cast<double>(steps)));
  };
  std::vector<int64_t> windows;
  int64_t length = share(0.22);
  for (int64_t covered = 0; covered < steps; covered += windows.back()) {
    windows.push_back(length);
    length = std::max(length - share(0.03), share(0.06));
  }
  return windows;
}

}  // namespace adamant
