// SPDX-License-Identifier: Apache-2.0
#include "server/workers/watchdog.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace adamant {

void Watchdog::Heartbeat(int64_t step, absl::Time now) {
  last_heartbeat_ = now;
  if (step == step_) return;
  if (step_ > 0) {
    const double seconds = absl::ToDoubleSeconds(now - last_step_);
    const double per_step = seconds / std::max<double>(1, static_cast<double>(step - step_));
    // A cheap running median: moves a tenth towards each new value's side.
    step_seconds_ =
        step_seconds_ == 0 ? per_step : step_seconds_ * (per_step > step_seconds_ ? 1.1 : 0.9);
  }
  step_ = step;
  last_step_ = now;
}

absl::Duration Watchdog::StepLimit() const {
  return std::max(kStepLimit, absl::Seconds(20 * step_seconds_));
}

absl::Time Watchdog::deadline() const {
  return std::min(last_heartbeat_ + kHeartbeatLimit, last_step_ + StepLimit());
}

std::string Watchdog::Verdict(absl::Time now) const {
  if (now >= last_heartbeat_ + kHeartbeatLimit)
    return absl::StrCat("no heartbeat for ", absl::FormatDuration(kHeartbeatLimit));
  if (now >= last_step_ + StepLimit())
    return absl::StrCat("no progress for ", absl::FormatDuration(StepLimit()));
  return "";
}

}  // namespace adamant
