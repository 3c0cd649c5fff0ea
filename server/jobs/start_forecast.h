// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

// Tells when queued jobs may start, from how long the last jobs of each kind held their slots. Not
// thread-safe.
class StartForecast {
 public:
  // A job of this kind succeeded after it held a slot for `took`.
  void OnRun(v1::JobKind kind, absl::Duration took);
  // The mean over the last 32 of them; nothing when there was none.
  std::optional<absl::Duration> Expected(v1::JobKind kind) const;

  struct Busy {
    v1::JobKind kind = v1::JOB_KIND_UNSPECIFIED;
    absl::Time since;
  };
  // When each of `queue`, kinds in the order of their start, gets a slot: those of `busy` when
  // their job has run as long as expected, and `free` of them now. InfiniteFuture where that cannot
  // be said: all slots ahead have jobs of a kind that never ended, or that run longer than
  // expected.
  std::vector<absl::Time> Starts(const std::vector<Busy>& busy, int free,
                                 const std::vector<v1::JobKind>& queue, absl::Time now) const;

 private:
  std::map<v1::JobKind, std::deque<absl::Duration>> runs_;
};

}  // namespace adamant
