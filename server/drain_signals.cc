// SPDX-License-Identifier: Apache-2.0
#include "server/drain_signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "server/telemetry/log.h"

namespace adamant {
namespace {

sigset_t DrainSet() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

void DrainSignals::Block() {
  const sigset_t set = DrainSet();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

DrainSignals::DrainSignals() : thread_([this] { Loop(); }) {}

DrainSignals::~DrainSignals() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  pthread_kill(thread_.native_handle(), SIGTERM);
  thread_.join();
}

void DrainSignals::Loop() {
  const sigset_t set = DrainSet();
  while (true) {
    int received = 0;
    if (sigwait(&set, &received) != 0) continue;
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
    ++count_;
    Log(LogLevel::kWarning, "signal", count_ == 1 ? "draining" : "draining faster",
        {{"signal", received}, {"count", count_}});
    if (count_ < 3) continue;
    FlushLog();
    _exit(1);
  }
}

void DrainSignals::WaitForFirst() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(+[](int* count) { return *count >= 1; }, &count_));
}

void DrainSignals::WaitForSecond(absl::Duration limit) {
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(+[](int* count) { return *count >= 2; }, &count_), limit);
}

}  // namespace adamant
