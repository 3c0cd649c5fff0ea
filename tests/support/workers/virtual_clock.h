// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/time/time.h"
#include "server/jobs/clock.h"

namespace adamant::testing {

// Stands still until told. Not thread-safe.
class VirtualClock : public Clock {
 public:
  absl::Time Wall() const override { return wall_; }
  absl::Time Steady() const override { return steady_; }

  void Advance(absl::Duration by) {
    steady_ += by;
    wall_ += by;
  }
  void AdvanceTo(absl::Time steady) { Advance(steady - steady_); }
  // Only the wall clock is stepped.
  void JumpWall(absl::Duration by) { wall_ += by; }

 private:
  absl::Time wall_ = absl::FromUnixSeconds(1'700'000'000);
  absl::Time steady_ = absl::FromUnixSeconds(1000);
};

}  // namespace adamant::testing
