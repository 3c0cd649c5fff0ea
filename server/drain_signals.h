// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace adamant {

// Takes SIGTERM and SIGINT on a thread of its own. The first asks for a drain, the second skips the
// delay, the third ends the process at once.
class DrainSignals {
 public:
  // Blocks the signals in the calling thread and all it will start: call before any other thread.
  static void Block();

  DrainSignals();
  ~DrainSignals();

  void WaitForFirst();
  // Until the second signal, at most `limit`.
  void WaitForSecond(absl::Duration limit);

 private:
  void Loop();

  absl::Mutex mutex_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace adamant
