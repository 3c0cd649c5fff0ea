// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/clock.h"

#include <time.h>

#include "absl/time/clock.h"

namespace adamant {
namespace {

class RealClock final : public Clock {
 public:
  absl::Time Wall() const override { return absl::Now(); }
  absl::Time Steady() const override {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return absl::TimeFromTimespec(now);
  }
};

}  // namespace

const Clock& Clock::Real() {
  static const RealClock clock;
  return clock;
}

}  // namespace adamant
