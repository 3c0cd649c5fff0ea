// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpc/grpc.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/api/api_limits.h"
#include "server/api/rate_limiter.h"
#include "server/api/timers.h"

namespace adamant {

// Decides which calls may begin, and ends unary calls that would wait for ever. Thread-safe.
class CallGate {
 public:
  // `timers` is borrowed.
  CallGate(const ApiLimits& limits, Timers& timers);
  // After the last call.
  ~CallGate();

  // RESOURCE_EXHAUSTED / RATE_LIMITED with RetryInfo; UNAVAILABLE / DRAINING once closed. `peer` as
  // gRPC names it.
  absl::Status Start(absl::string_view peer, absl::Time now);
  // RESOURCE_EXHAUSTED / RATE_LIMITED with RetryInfo.
  absl::Status Submit(absl::string_view tenant, absl::Time now);
  // RESOURCE_EXHAUSTED / MEMORY_FULL with RetryInfo; then nothing is reserved.
  absl::Status Reserve(int64_t bytes);
  void Release(int64_t bytes) { reserved_ -= bytes; }
  int64_t reserved_bytes() const { return reserved_; }

  // Around every call, also one that was refused.
  void Enter();
  void Leave();
  // No call may begin any more. Waits until none is left, at most for `grace`.
  void Close(absl::Duration grace);

  // A call without deadline, until it is taken out again.
  struct Capped {
    grpc_call* call;  // null: ended
    absl::Time until;
  };
  using CapEntry = std::list<Capped>::iterator;
  CapEntry AddCapped(grpc_call* call, absl::Time now);
  // True when the gate has ended the call.
  bool RemoveCapped(CapEntry entry);

 private:
  struct Sweeper;
  void Sweep(absl::Time now);
  bool HasNoCalls() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return open_calls_ == 0; }
  void Arm(absl::Time at) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const ApiLimits limits_;
  RateLimiter starts_;
  RateLimiter submits_;
  std::atomic<int64_t> reserved_{0};
  Timers& timers_;
  absl::Mutex mutex_;
  std::list<Capped> capped_ ABSL_GUARDED_BY(mutex_);  // in the order of `until`
  bool armed_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t open_calls_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> closed_{false};
  std::shared_ptr<Sweeper> sweeper_;
};

}  // namespace adamant
