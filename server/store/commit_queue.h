// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace adamant {

// One command of a transaction.
struct StoreCommand {
  bool writes = false;
  // Runs inside the transaction, on the writer thread. An error means that the database failed.
  std::function<absl::Status()> run;
  // Runs on the reply thread after the commit. An error means that nothing was committed.
  std::function<void(const absl::Status&)> finish;
};

// How a batch is bracketed; called on the writer thread.
struct TransactionHooks {
  std::function<absl::Status()> begin;
  std::function<absl::Status()> commit;
  std::function<void(absl::Status)>
      on_fatal;  // called once, when begin, a command or commit failed
};

// Group commit: everything queued while the writer was busy becomes one transaction. A failure is
// never retried: all later commands finish with UNAVAILABLE / STORE_UNAVAILABLE. Thread-safe; the
// destructor runs what is queued, then ends both threads.
class CommitQueue {
 public:
  static constexpr size_t kMaxBatch = 64;

  explicit CommitQueue(TransactionHooks hooks);
  ~CommitQueue();

  void Add(StoreCommand command);

 private:
  using Batch = std::vector<StoreCommand>;
  struct Finished {
    Batch batch;
    absl::Status status;
  };

  void WriteLoop();
  void ReplyLoop();
  absl::Status Execute(const Batch& batch);

  const TransactionHooks hooks_;
  absl::Mutex mutex_;
  std::deque<StoreCommand> queue_ ABSL_GUARDED_BY(mutex_);
  std::deque<Finished> finished_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool writer_ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failure_;  // writer thread only
  std::thread writer_;
  std::thread replier_;
};

}  // namespace adamant
