// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/workers/launch.h"
#include "server/workers/worker_process.h"

namespace adamant {

struct Slot {
  std::string device = "cpu";
  int threads = 1;
};

struct WorkerPoolOptions {
  WorkerCommand command;  // `threads` are those of a job's worker
  std::vector<Slot> slots = {Slot{}};
  int warm_spares = 1;
  absl::Duration hello_limit = absl::Seconds(30);
  absl::Duration probe_limit = absl::Seconds(60);  // from Hello to the verdict
};

// A worker that has said Hello and waits for Start.
struct ReadyWorker {
  std::unique_ptr<WorkerProcess> process;
  worker::v1::Hello hello;
};

// Starts workers, and keeps `warm_spares` of them idle so that a job does not wait for LibTorch. A
// spare has seen no tenant data. All children are spawned by the pool's own thread, because a child
// dies with the thread that made it. Thread-safe.
class WorkerPool {
 public:
  explicit WorkerPool(WorkerPoolOptions options);
  // Kills the spares. Every worker handed out must have been destroyed.
  ~WorkerPool();

  // A spare, or a new process. Blocks until it said Hello. UNAVAILABLE when it did not.
  absl::StatusOr<ReadyWorker> Take();
  // A new process with few threads, whose memory can grow by at most this much (validations).
  // Blocks as Take does.
  absl::StatusOr<ReadyWorker> TakeLimited(int threads, int64_t memory_bytes);

  // Whether the slot's device computes what it should: a new process, never a spare, allocates,
  // runs a kernel, compares and frees. Blocks as Take does, then for up to `probe_limit`.
  // UNAVAILABLE with what failed.
  absl::Status Probe(int slot);

  const std::vector<Slot>& slots() const { return options_.slots; }
  int idle_spares() const;

 private:
  using Spawned = absl::StatusOr<std::unique_ptr<WorkerProcess>>;
  struct Spare {
    std::unique_ptr<WorkerProcess> process;
    std::optional<worker::v1::Hello> hello;  // unset while it starts
  };

  Spawned SpawnOnPoolThread(WorkerCommand command);
  absl::StatusOr<ReadyWorker> AwaitHello(Spare spare) const;
  void Loop();
  void TendSpares();
  static bool IsAlive(Spare& spare);
  bool SpareWanted() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const WorkerPoolOptions options_;
  mutable absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  std::deque<Spare> spares_ ABSL_GUARDED_BY(mutex_);
  absl::Time retry_spares_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace adamant
