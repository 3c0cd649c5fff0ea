// SPDX-License-Identifier: Apache-2.0
#include "server/api/timers.h"

#include "absl/time/clock.h"

namespace adamant {

Timers::Timers() : thread_([this] { Loop(); }) {}

Timers::~Timers() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.Signal();
  }
  thread_.join();
}

void Timers::At(absl::Time time, std::function<void()> run) {
  absl::MutexLock lock(&mutex_);
  due_.emplace(time, std::move(run));
  changed_.Signal();
}

void Timers::Loop() {
  absl::ReleasableMutexLock lock(&mutex_);
  while (!stopping_) {
    const absl::Time next = due_.empty() ? absl::InfiniteFuture() : due_.begin()->first;
    if (next > absl::Now()) {
      changed_.WaitWithDeadline(&mutex_, next);
      continue;
    }
    const std::function<void()> run = std::move(due_.begin()->second);
    due_.erase(due_.begin());
    mutex_.Unlock();
    run();
    mutex_.Lock();
  }
  lock.Release();
}

}  // namespace adamant
