// SPDX-License-Identifier: Apache-2.0
#include "server/store/commit_queue.h"

#include <algorithm>
#include <iterator>

#include "common/error_reason.h"
#include "common/status_macros.h"

namespace adamant {

CommitQueue::CommitQueue(TransactionHooks hooks)
    : hooks_(std::move(hooks)),
      writer_([this] { WriteLoop(); }),
      replier_([this] { ReplyLoop(); }) {}

CommitQueue::~CommitQueue() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  writer_.join();
  replier_.join();
}

void CommitQueue::Add(StoreCommand command) {
  absl::MutexLock lock(&mutex_);
  queue_.push_back(std::move(command));
}

absl::Status CommitQueue::Execute(const Batch& batch) {
  const bool writes =
      std::any_of(batch.begin(), batch.end(), [](const StoreCommand& c) { return c.writes; });
  if (writes) RETURN_IF_ERROR(hooks_.begin());
  for (const StoreCommand& command : batch) RETURN_IF_ERROR(command.run());
  return writes ? hooks_.commit() : absl::OkStatus();
}

void CommitQueue::WriteLoop() {
  while (true) {
    Batch batch;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(
          +[](CommitQueue* q) ABSL_EXCLUSIVE_LOCKS_REQUIRED(q->mutex_) {
            return q->stopping_ || !q->queue_.empty();
          },
          this));
      if (queue_.empty()) {
        writer_ended_ = true;
        return;
      }
      const auto end = queue_.begin() + std::min(queue_.size(), kMaxBatch);
      batch.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
      queue_.erase(queue_.begin(), end);
    }
    if (failure_.ok()) {
      if (const absl::Status status = Execute(batch); !status.ok()) {
        failure_ = WithReason(absl::UnavailableError("the store failed; the server has to restart"),
                              "STORE_UNAVAILABLE");
        if (hooks_.on_fatal) hooks_.on_fatal(status);
      }
    }
    absl::MutexLock lock(&mutex_);
    finished_.push_back({std::move(batch), failure_});
  }
}

void CommitQueue::ReplyLoop() {
  while (true) {
    Finished finished;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(
          +[](CommitQueue* q) ABSL_EXCLUSIVE_LOCKS_REQUIRED(q->mutex_) {
            return q->writer_ended_ || !q->finished_.empty();
          },
          this));
      if (finished_.empty()) return;
      finished = std::move(finished_.front());
      finished_.pop_front();
    }
    for (StoreCommand& command : finished.batch) command.finish(finished.status);
  }
}

}  // namespace adamant
