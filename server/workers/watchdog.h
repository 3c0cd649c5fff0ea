// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace adamant {

// Decides when a worker hangs: no heartbeat for 5 s, or heartbeats without a new step for
// max(60 s, 20 x the median step time). Not thread-safe.
class Watchdog {
 public:
  static constexpr absl::Duration kHeartbeatLimit = absl::Seconds(5);
  static constexpr absl::Duration kStepLimit = absl::Seconds(60);

  explicit Watchdog(absl::Time now) : last_heartbeat_(now), last_step_(now) {}

  void Heartbeat(int64_t step, absl::Time now);

  // When to look again.
  absl::Time deadline() const;
  // Why the worker has to be killed, or "".
  std::string Verdict(absl::Time now) const;

 private:
  absl::Duration StepLimit() const;

  absl::Time last_heartbeat_;
  absl::Time last_step_;
  int64_t step_ = 0;
  double step_seconds_ = 0;  // running median
};

}  // namespace adamant
