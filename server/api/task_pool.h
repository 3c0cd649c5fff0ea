// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace adamant {

// A bounded pool of threads for work that must not run in a gRPC callback: hashing, disk, calls
// that wait for a commit. Thread-safe.
class TaskPool {
 public:
  TaskPool(int threads, size_t max_queued);
  ~TaskPool() { Stop(); }
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  // Runs what is queued, then joins; takes nothing afterwards.
  void Stop();

  // False when the queue is full or the pool stopped: the task is not taken.
  [[nodiscard]] bool Run(std::function<void()> task);

 private:
  void Work();

  const size_t max_queued_;
  absl::Mutex mutex_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace adamant
