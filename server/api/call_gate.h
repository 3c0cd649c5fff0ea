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

// Decides which calls may begin, ends unary calls that would wait for ever, and at the end of the
// server all that are left. Thread-safe.
class CallGate {
 public:
  // `timers` is borrowed.
  CallGate(const ApiLimits& limits, Timers& timers);
  // After the last call.
  ~CallGate();

  // RESOURCE_EXHAUSTED / RATE_LIMITED with RetryInfo, UNAVAILABLE / DRAINING. `peer` as gRPC names
  // it.
  absl::Status Start(absl::string_view peer, absl::Time now);
  // RESOURCE_EXHAUSTED / RATE_LIMITED with RetryInfo.
  absl::Status Submit(absl::string_view tenant, absl::Time now);
  // RESOURCE_EXHAUSTED / MEMORY_FULL with RetryInfo; then nothing is reserved.
  absl::Status Reserve(int64_t bytes);
  void Release(int64_t bytes) { reserved_ -= bytes; }
  int64_t reserved_bytes() const { return reserved_; }

  // From here on every call is refused with UNAVAILABLE / DRAINING.
  void Close();
  // Waits until no call is open; false when `limit` passed before that.
  bool AwaitIdle(absl::Duration limit);
  // Ends every open call with UNAVAILABLE.
  void EndCalls();

  // A call from its begin to its end.
  struct Open {
    grpc_call* call;
    absl::Time until;    // when it is ended; infinite = it has no cap
    absl::Status ended;  // not OK: the gate has ended it
  };
  using Entry = std::list<Open>::iterator;
  // `capped`: the gate ends the call when it takes too long.
  Entry Enter(grpc_call* call, bool capped, absl::Time now);
  // The call sends its status, so the cap no longer holds. Not OK: the gate has ended it.
  absl::Status Uncap(Entry entry);
  void Leave(Entry entry);

 private:
  struct Sweeper;
  void Sweep(absl::Time now);
  void Arm(absl::Time at) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Idle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return capped_.empty() && uncapped_.empty();
  }

  const ApiLimits limits_;
  RateLimiter starts_;
  RateLimiter submits_;
  std::atomic<int64_t> reserved_{0};
  std::atomic<bool> closed_{false};
  Timers& timers_;
  absl::Mutex mutex_;
  std::list<Open> capped_ ABSL_GUARDED_BY(mutex_);  // in the order of `until`
  std::list<Open> uncapped_ ABSL_GUARDED_BY(mutex_);
  bool armed_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Sweeper> sweeper_;
};

}  // namespace adamant
