// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "core/attacks/attack.h"

namespace adamant {

// Lengths of APGD's windows for `steps` steps in LINF and L2: max(int(.22 N), 1), each
// max(int(.03 N), 1) shorter than the one before, at least max(int(.06 N), 1). In L1 each has
// max(int(.04 N), 1). Their sum is at least `steps`.
std::vector<int64_t> ApgdWindows(Norm norm, int64_t steps);

// The balls that APGD searches under L1.
struct ApgdBall {
  ThreatModel threat;
  int64_t first_step = 0;  // steps in the balls before
  int64_t steps = 0;
  bool last = false;
};

// 3, 2 and 1 epsilon for 30, 30 and 40 % of the steps, the first two rounded up, at least one step
// in the last. A ball without a step is left out.
std::vector<ApgdBall> ApgdBalls(const ThreatModel& threat, int64_t steps);

}  // namespace adamant
