// SPDX-License-Identifier: Apache-2.0
#include "server/store/commit_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/error_reason.h"
#include "common/failpoint.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

absl::Status Unavailable() {
  return WithReason(absl::UnavailableError("the store failed; the server has to restart"),
                    "STORE_UNAVAILABLE");
}

// The step that occurs most; of equals the first.
StoreStep Dominant(const std::vector<StoreStep>& steps) {
  StoreStep best = StoreStep::kOther;
  int64_t most = 0;
  for (const StoreStep step : steps) {
    const int64_t count = std::count(steps.begin(), steps.end(), step);
    if (step == StoreStep::kNothing || count <= most) continue;
    best = step;
    most = count;
  }
  return best;
}

absl::Status BeforeCommit(const std::vector<StoreStep>& steps) {
  for (const StoreStep step : steps) {
    const absl::string_view prefix = FailpointPrefix(step);
    if (!prefix.empty()) RETURN_IF_ERROR(FailpointStatus(absl::StrCat(prefix, ".before_commit")));
  }
  return absl::OkStatus();
}

void AfterCommit(const std::vector<StoreStep>& steps) {
  for (const StoreStep step : steps) {
    const absl::string_view prefix = FailpointPrefix(step);
    if (!prefix.empty()) ADAMANT_FAILPOINT(absl::StrCat(prefix, ".after_commit"));
  }
}

}  // namespace

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

absl::Status CommitQueue::failure() const { return failed_ ? Unavailable() : absl::OkStatus(); }

void CommitQueue::Add(StoreCommand command) {
  absl::MutexLock lock(&mutex_);
  if (writer_ended_) {
    Batch late;
    late.push_back(std::move(command));
    finished_.push_back({std::move(late), Unavailable()});
  } else if (command.writes) {
    writes_.push_back({std::move(command), absl::Now()});
  } else {
    reads_.push_back(std::move(command));
  }
}

bool CommitQueue::HasWork() const { return stopping_ || !reads_.empty() || !writes_.empty(); }

bool CommitQueue::MayStart() const {
  return stopping_ || !reads_.empty() || writes_.size() >= kMaxBatch ||
         std::any_of(writes_.begin(), writes_.end(),
                     [](const Queued& queued) { return !queued.command.may_linger; });
}

bool CommitQueue::HasReplies() const { return writer_ended_ || !finished_.empty(); }

// Reads and writes take turns, so that neither keeps the other waiting for more than one batch.
CommitQueue::Batch CommitQueue::TakeBatch() {
  Batch batch;
  const bool take_reads = writes_.empty() || (reads_are_next_ && !reads_.empty());
  reads_are_next_ = !take_reads;
  while (batch.size() < kMaxBatch && !(take_reads ? reads_.empty() : writes_.empty())) {
    if (take_reads) {
      batch.push_back(std::move(reads_.front()));
      reads_.pop_front();
    } else {
      batch.push_back(std::move(writes_.front().command));
      writes_.pop_front();
    }
  }
  return batch;
}

void CommitQueue::WriteLoop() {
  while (true) {
    Batch batch;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &CommitQueue::HasWork));
      if (reads_.empty() && writes_.empty()) {
        writer_ended_ = true;
        return;
      }
      if (!writes_.empty()) {
        const absl::Duration waited = absl::Now() - writes_.front().since;
        const absl::Duration left = std::clamp(kLinger - waited, absl::ZeroDuration(), kLinger);
        mutex_.AwaitWithTimeout(absl::Condition(this, &CommitQueue::MayStart), left);
      }
      batch = TakeBatch();
    }
    if (failed_) {
      Finish(std::move(batch), Unavailable());
    } else if (batch.front().writes) {
      RunWrites(std::move(batch));
    } else {
      RunReads(std::move(batch));
    }
  }
}

void CommitQueue::RunReads(Batch batch) {
  const absl::Time start = absl::Now();
  for (const StoreCommand& command : batch) {
    StoreEffect effect;
    command.run(effect);
  }
  const absl::Status status = hooks_.status();
  if (hooks_.on_transaction)
    hooks_.on_transaction(MetricName(StoreStep::kRead), absl::Now() - start);
  Finish(std::move(batch), status.ok() ? status : SettleFailure(status, "read"));
}

absl::Status CommitQueue::Execute(Batch& batch, size_t& ran, std::vector<StoreStep>& steps) {
  RETURN_IF_ERROR(hooks_.begin());
  for (int event_rows = 0; ran < batch.size() && event_rows < kMaxBatchEventRows;) {
    StoreEffect effect;
    batch[ran++].run(effect);
    RETURN_IF_ERROR(hooks_.status());
    event_rows += effect.event_rows;
    steps.push_back(effect.step);
  }
  RETURN_IF_ERROR(BeforeCommit(steps));
  RETURN_IF_ERROR(hooks_.commit());
  AfterCommit(steps);
  return absl::OkStatus();
}

// What the commands hear. A full disk is a refusal when the transaction could be rolled back.
absl::Status CommitQueue::SettleFailure(absl::Status status, absl::string_view op) {
  if (hooks_.on_error) hooks_.on_error(op);
  if (absl::IsResourceExhausted(status)) {
    const absl::Status rolled_back = hooks_.rollback();
    if (rolled_back.ok()) {
      return WithReason(
          absl::ResourceExhaustedError("the disk of the server is full; nothing was stored"),
          "STORAGE_FULL");
    }
    status = rolled_back;
  }
  failed_ = true;
  if (hooks_.on_fatal) hooks_.on_fatal(status);
  return Unavailable();
}

void CommitQueue::RunWrites(Batch batch) {
  const absl::Time start = absl::Now();
  size_t ran = 0;
  std::vector<StoreStep> steps;
  absl::Status status = Execute(batch, ran, steps);
  if (!status.ok()) {
    ran = batch.size();
    status = SettleFailure(status, "commit");
  }
  if (hooks_.on_transaction)
    hooks_.on_transaction(MetricName(Dominant(steps)), absl::Now() - start);
  if (ran < batch.size()) {
    absl::MutexLock lock(&mutex_);
    while (batch.size() > ran) {
      writes_.push_front({std::move(batch.back()), start});
      batch.pop_back();
    }
  }
  Finish(std::move(batch), status);
}

void CommitQueue::Finish(Batch batch, absl::Status status) {
  absl::MutexLock lock(&mutex_);
  finished_.push_back({std::move(batch), std::move(status)});
}

void CommitQueue::ReplyLoop() {
  while (true) {
    Finished finished;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &CommitQueue::HasReplies));
      if (finished_.empty()) return;
      finished = std::move(finished_.front());
      finished_.pop_front();
    }
    for (StoreCommand& command : finished.batch) command.finish(finished.status);
  }
}

}  // namespace adamant
