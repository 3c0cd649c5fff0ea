// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "adamant/v1/system.pb.h"
#include "server/jobs/attempt_types.h"
#include "server/jobs/queue.h"

namespace adamant {

// Who has which slot, what of the memory is promised, and which devices are fit for work. Times are
// steady. Not thread-safe.
class SlotBoard {
 public:
  SlotBoard(std::vector<Slot> slots, const SchedulerOptions& options);

  struct Fit {
    int slot = -1;           // where the job can start; -1 = nowhere now
    bool too_large = false;  // a healthy slot is free, memory is not
  };
  Fit Find(const LiveJob& job, absl::Time now);
  // Whether some healthy slot is free.
  bool AnyFree(absl::Time now);
  bool AllUnhealthy() const;

  // Takes some healthy free slot, and memory, for what is no job; -1 when there is none.
  int Hold(const LiveJob& needs, absl::Time now);
  void Take(int slot, const std::string& uid, const LiveJob& job);
  void Free(int slot, const AttemptOver& over, absl::Time now);

  // Slots whose device has to be probed now; they count as being probed from here on.
  std::vector<int> TakeProbes(absl::Time now);
  void OnProbe(int slot, const absl::Status& verdict, absl::Time now);
  bool probing() const;
  // When something may change by itself: the next probe, or a look at a busy device.
  absl::Time wake_at(absl::Time now) const;

  std::vector<v1::SlotStatus> Status() const;
  size_t size() const { return slots_.size(); }
  const Slot& slot(int index) const { return slots_[static_cast<size_t>(index)].place; }

 private:
  enum class Health { kGood, kSuspect, kProbing };
  struct State {
    Slot place;
    std::string uid;  // "" = free, or held for what is no job
    bool held = false;
    int64_t host_bytes = 0;
    Health health = Health::kGood;
    std::string unhealthy;          // why, for people
    std::deque<absl::Time> faults;  // lately
    absl::Time probe_at;            // kSuspect
    absl::Duration probe_pause;     // after the next failure
    std::string foreign;            // why the device itself says no
    absl::Time looked_at = absl::InfinitePast();
    int64_t free_device_bytes = 0;  // as the device says; 0 = unknown
  };

  void Look(State& state, int slot, absl::Time now);
  bool Usable(State& state, int slot, absl::Time now);
  bool HostFits(const LiveJob& job) const;
  bool DeviceFits(const LiveJob& job, const State& state) const;
  int64_t Capacity(const std::string& device) const;
  void Promise(State& state, const LiveJob& job);
  void Suspect(State& state, std::string why, absl::Time now);

  const SchedulerOptions& options_;
  std::vector<State> slots_;
  int64_t host_bytes_ = 0;  // promised
};

}  // namespace adamant
