// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/slots.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr absl::Duration kFaultWindow = absl::Minutes(10);
constexpr size_t kFaultsToQuarantine = 2;
constexpr absl::Duration kFirstProbePause = absl::Seconds(5);
constexpr absl::Duration kLongestProbePause = absl::Minutes(5);
constexpr absl::Duration kLookEvery = absl::Seconds(1);
constexpr absl::Duration kLookAgain = absl::Seconds(10);  // at a device that others use
// More than this in use without a job is somebody else's; idle spares hold less.
constexpr int64_t kForeignBytes = int64_t{1} << 30;

bool IsCpu(const Slot& slot) { return slot.device == "cpu"; }

}  // namespace

SlotBoard::SlotBoard(std::vector<Slot> slots, const SchedulerOptions& options) : options_(options) {
  for (Slot& slot : slots) slots_.emplace_back().place = std::move(slot);
}

int64_t SlotBoard::Capacity(const std::string& device) const {
  const auto found = options_.device_memory_bytes.find(device);
  return found == options_.device_memory_bytes.end() ? 0 : found->second;
}

// A job that would fill more than all of it runs alone.
bool SlotBoard::HostFits(const LiveJob& job) const {
  if (options_.host_memory_bytes <= 0 || job.host_bytes == 0) return true;
  const int64_t need = std::min(job.host_bytes, options_.host_memory_bytes);
  return host_bytes_ + need <= options_.host_memory_bytes;
}

bool SlotBoard::DeviceFits(const LiveJob& job, const State& state) const {
  if (IsCpu(state.place) || job.device_bytes == 0) return true;
  int64_t largest = 0;
  for (const State& other : slots_) largest = std::max(largest, Capacity(other.place.device));
  const int64_t need = largest > 0 ? std::min(job.device_bytes, largest) : job.device_bytes;
  const int64_t capacity = Capacity(state.place.device);
  if (capacity > 0 && need > capacity) return false;
  // What the driver keeps for itself is not free, but not foreign either.
  return state.free_device_bytes == 0 || need >= capacity || need <= state.free_device_bytes;
}

void SlotBoard::Look(State& state, int slot, absl::Time now) {
  if (options_.device_condition == nullptr || now - state.looked_at < kLookEvery) return;
  state.looked_at = now;
  state.foreign.clear();
  state.free_device_bytes = 0;
  const std::optional<DeviceCondition> condition = options_.device_condition(slot);
  if (!condition.has_value()) return;
  state.free_device_bytes = condition->free_bytes;
  const int64_t used = condition->total_bytes - condition->free_bytes;
  if (!condition->unhealthy.empty()) {
    state.foreign = condition->unhealthy;
  } else if (condition->total_bytes > 0 && used > kForeignBytes) {
    state.foreign = absl::StrCat("other programs use ", used >> 20, " MiB of ", state.place.device);
  }
}

bool SlotBoard::Usable(State& state, int slot, absl::Time now) {
  if (!state.uid.empty() || state.held || state.health != Health::kGood) return false;
  Look(state, slot, now);
  return state.foreign.empty();
}

bool SlotBoard::AnyFree(absl::Time now) {
  bool any = false;
  for (size_t i = 0; i < slots_.size(); ++i)
    any = Usable(slots_[i], static_cast<int>(i), now) || any;
  return any;
}

bool SlotBoard::AllUnhealthy() const {
  return std::all_of(slots_.begin(), slots_.end(), [](const State& state) {
    return state.health != Health::kGood || !state.foreign.empty();
  });
}

SlotBoard::Fit SlotBoard::Find(const LiveJob& job, absl::Time now) {
  Fit fit;
  const bool host_fits = HostFits(job);
  for (size_t i = 0; i < slots_.size(); ++i) {
    State& state = slots_[i];
    const int slot = static_cast<int>(i);
    if (!Usable(state, slot, now)) continue;
    if (!host_fits || !DeviceFits(job, state)) {
      fit.too_large = true;
      continue;
    }
    // A device that failed this job comes last.
    const bool failed = state.place.device == job.faulty_device && !IsCpu(state.place);
    if (fit.slot < 0 || !failed) fit.slot = slot;
    if (!failed) break;
  }
  if (fit.slot >= 0) fit.too_large = false;
  return fit;
}

int SlotBoard::Hold(const LiveJob& needs, absl::Time now) {
  const int slot = Find(needs, now).slot;
  if (slot < 0) return -1;
  State& state = slots_[static_cast<size_t>(slot)];
  state.held = true;
  Promise(state, needs);
  return slot;
}

void SlotBoard::Take(int slot, const std::string& uid, const LiveJob& job) {
  State& state = slots_[static_cast<size_t>(slot)];
  state.uid = uid;
  Promise(state, job);
}

void SlotBoard::Promise(State& state, const LiveJob& job) {
  state.host_bytes = options_.host_memory_bytes > 0
                         ? std::min(job.host_bytes, options_.host_memory_bytes)
                         : job.host_bytes;
  host_bytes_ += state.host_bytes;
}

void SlotBoard::Suspect(State& state, std::string why, absl::Time now) {
  state.health = Health::kSuspect;
  state.unhealthy = std::move(why);
  state.probe_at = now;
  state.probe_pause = kFirstProbePause;
}

void SlotBoard::Free(int slot, const AttemptOver& over, absl::Time now) {
  State& state = slots_[static_cast<size_t>(slot)];
  state.uid.clear();
  state.held = false;
  host_bytes_ -= std::exchange(state.host_bytes, 0);
  state.looked_at = absl::InfinitePast();
  if (over.outcome == v1::ATTEMPT_DEVICE_FAULT) state.faults.push_back(now);
  while (!state.faults.empty() && now - state.faults.front() > kFaultWindow)
    state.faults.pop_front();
  if (state.faults.size() >= kFaultsToQuarantine) {
    Suspect(state, absl::StrCat(state.faults.size(), " device faults within 10 minutes"), now);
  } else if (!IsCpu(state.place) && over.outcome == v1::ATTEMPT_DEVICE_FAULT) {
    Suspect(state, "a device fault; it is being probed", now);
  } else if (!IsCpu(state.place) && over.killed) {
    Suspect(state, "a worker was killed at work; the device is being probed", now);
  }
}

std::vector<int> SlotBoard::TakeProbes(absl::Time now) {
  std::vector<int> due;
  for (size_t i = 0; i < slots_.size(); ++i) {
    State& state = slots_[i];
    if (state.health != Health::kSuspect || !state.uid.empty() || now < state.probe_at) continue;
    state.health = Health::kProbing;
    due.push_back(static_cast<int>(i));
  }
  return due;
}

void SlotBoard::OnProbe(int slot, const absl::Status& verdict, absl::Time now) {
  State& state = slots_[static_cast<size_t>(slot)];
  if (verdict.ok()) {
    state.health = Health::kGood;
    state.unhealthy.clear();
    state.faults.clear();
    return;
  }
  state.health = Health::kSuspect;
  state.unhealthy = absl::StrCat("the probe failed: ", verdict.message());
  state.probe_at = now + state.probe_pause;
  state.probe_pause = std::min(state.probe_pause * 2, kLongestProbePause);
}

bool SlotBoard::probing() const {
  return std::any_of(slots_.begin(), slots_.end(),
                     [](const State& state) { return state.health == Health::kProbing; });
}

absl::Time SlotBoard::wake_at(absl::Time now) const {
  absl::Time wake = absl::InfiniteFuture();
  for (const State& state : slots_) {
    if (state.health == Health::kSuspect && state.uid.empty())
      wake = std::min(wake, state.probe_at);
    if (!state.foreign.empty()) wake = std::min(wake, now + kLookAgain);
  }
  return wake;
}

std::vector<v1::SlotStatus> SlotBoard::Status() const {
  std::vector<v1::SlotStatus> all;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const State& state = slots_[i];
    v1::SlotStatus& status = all.emplace_back();
    status.set_slot(static_cast<int>(i));
    status.set_device(state.place.device);
    if (!state.uid.empty()) status.set_job(JobName(state.uid));
    status.set_unhealthy(state.health == Health::kGood ? state.foreign : state.unhealthy);
  }
  return all;
}

}  // namespace adamant
