// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/store/store_executor.h"

namespace adamant {

// How a batch is bracketed; all but on_fatal are called on the writer thread.
struct TransactionHooks {
  std::function<absl::Status()> begin;
  // RESOURCE_EXHAUSTED = the disk is full and nothing was stored: the batch is rolled back and
  // refused. Any other error is fatal.
  std::function<absl::Status()> commit;
  std::function<absl::Status()> rollback;
  // The state of the database after a command. Errors as those of commit.
  std::function<absl::Status()> status;
  // Called once, on the writer thread.
  std::function<void(absl::Status)> on_fatal;
  // What dominated a transaction, and how long it took. Optional.
  std::function<void(absl::string_view, absl::Duration)> on_transaction;
  // A transaction failed: "commit" or "read". Optional.
  std::function<void(absl::string_view)> on_error;
};

// Group commit: everything queued while the writer was busy becomes one transaction. Reads run
// between commits. A failure is never retried: all later commands finish with UNAVAILABLE /
// STORE_UNAVAILABLE. Thread-safe; the destructor runs what is queued, then ends both threads.
class CommitQueue final : public StoreExecutor {
 public:
  static constexpr size_t kMaxBatch = 64;         // commands
  static constexpr int kMaxBatchEventRows = 500;  // the command that reaches it is the last
  static constexpr absl::Duration kLinger = absl::Milliseconds(20);

  explicit CommitQueue(TransactionHooks hooks);
  ~CommitQueue() override;

  void Add(StoreCommand command) override;
  absl::Status failure() const override;

 private:
  struct Queued {
    StoreCommand command;
    absl::Time since;
  };
  using Batch = std::vector<StoreCommand>;
  struct Finished {
    Batch batch;
    absl::Status status;
  };

  void WriteLoop();
  void ReplyLoop();
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayStart() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasReplies() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Batch TakeBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Finish(Batch batch, absl::Status status);
  // Runs as many as fit into one transaction; what did not run goes back to the queue.
  void RunWrites(Batch batch);
  void RunReads(Batch batch);
  absl::Status Execute(Batch& batch, size_t& ran, std::vector<StoreStep>& steps);
  absl::Status SettleFailure(absl::Status status, absl::string_view op);

  const TransactionHooks hooks_;
  absl::Mutex mutex_;
  std::deque<StoreCommand> reads_ ABSL_GUARDED_BY(mutex_);
  std::deque<Queued> writes_ ABSL_GUARDED_BY(mutex_);
  std::deque<Finished> finished_ ABSL_GUARDED_BY(mutex_);
  bool reads_are_next_ ABSL_GUARDED_BY(mutex_) = true;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool writer_ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> failed_{false};
  std::thread writer_;
  std::thread replier_;
};

}  // namespace adamant
