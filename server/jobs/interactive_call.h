// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/workers/worker_process.h"

namespace adamant {

// One interactive request on its way, so that whoever waits for it can stop it. Thread-safe.
class InteractiveCall {
 public:
  // The computation stops within one explainer iteration; the call is answered with `why`. The
  // first reason counts.
  void Stop(absl::Status why) {
    absl::MutexLock lock(&mutex_);
    if (!stop_.ok()) return;
    stop_ = std::move(why);
    if (running_ != nullptr) running_->Wake();
  }

  // Why it was stopped, or OK.
  absl::Status stop() const {
    absl::MutexLock lock(&mutex_);
    return stop_;
  }

  // The worker that Stop wakes, or nullptr.
  void RunsOn(WorkerProcess* process) {
    absl::MutexLock lock(&mutex_);
    running_ = process;
    if (running_ != nullptr && !stop_.ok()) running_->Wake();
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Status stop_ ABSL_GUARDED_BY(mutex_);
  WorkerProcess* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace adamant
