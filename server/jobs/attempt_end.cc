// SPDX-License-Identifier: Apache-2.0
// How an attempt ends: asked, by itself, by force, and what it leaves in the store.
#include <algorithm>
#include <csignal>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/failpoint.h"
#include "server/jobs/attempt.h"
#include "server/jobs/job.h"
#include "server/store/await.h"

namespace adamant {
namespace {

constexpr absl::Duration kCommitRetry = absl::Seconds(1);

// 0.8 to 1.2, so that jobs which failed together do not come back together.
double Jitter(absl::string_view uid, int attempt) {
  uint64_t hash = 14695981039346656037U + static_cast<uint64_t>(attempt);  // FNV-1a
  for (const char letter : uid) hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211U;
  return 0.8 + 0.4 * static_cast<double>(hash >> 40) / static_cast<double>(1 << 24);
}

void SetError(const absl::Status& status, google::rpc::Status& error) {
  error.set_code(static_cast<int>(status.code()));
  error.set_message(std::string(status.message()));
}

}  // namespace

v1::AttemptOutcome OutcomeOfStop(StopReason reason) {
  switch (reason) {
    case StopReason::kPause:
      return v1::ATTEMPT_PAUSED;
    case StopReason::kCancel:
      return v1::ATTEMPT_CANCELLED;
    case StopReason::kTimeout:
      return v1::ATTEMPT_TIMEOUT;
    case StopReason::kFence:
      return v1::ATTEMPT_FENCED;
    default:
      return v1::ATTEMPT_DRAINED;
  }
}

const char* MessageOfStop(StopReason reason) {
  switch (reason) {
    case StopReason::kPause:
      return "paused on request";
    case StopReason::kCancel:
      return "cancelled on request";
    case StopReason::kTimeout:
      return "max_run_time is over";
    case StopReason::kFence:
      return "the lease of the attempt is lost";
    default:
      return "the server was stopped; the job goes on after its next start";
  }
}

void Attempt::OnExit(int wait_status, const absl::Status& over_limit) {
  AttemptEnd silent = EndOfSilentWorker(wait_status);
  if (!over_limit.ok()) {
    silent.outcome = v1::ATTEMPT_OUT_OF_MEMORY;
    silent.message = std::string(over_limit.message());
    SetError(over_limit, silent.error);
  }
  end_.outcome = silent.outcome;
  end_.message = silent.message;
  end_.error = silent.error;
  ended_ = true;
  if (const StopReason reason = CurrentStop().reason; reason != StopReason::kNone)
    EndStopped(reason);
  if (CurrentStop().reason >= StopReason::kFence) Fence(MessageOfStop(CurrentStop().reason));
}

void Attempt::EndStopped(StopReason reason) {
  end_.outcome = OutcomeOfStop(reason);
  end_.message = MessageOfStop(reason);
  SetError(reason == StopReason::kTimeout ? absl::DeadlineExceededError(end_.message)
                                          : absl::CancelledError(end_.message),
           end_.error);
}

void Attempt::Kill(v1::AttemptOutcome outcome, absl::string_view message) {
  if (!ended_) {
    end_.outcome = outcome;
    end_.message = std::string(message);
    SetError(absl::UnavailableError(message), end_.error);
    if (const StopReason reason = CurrentStop().reason; reason != StopReason::kNone)
      EndStopped(reason);
    ended_ = true;
    killed_ = link_ != nullptr;
    exit_by_ = services_.clock.Steady() + kExitLimit;
  }
  if (link_ != nullptr && FailpointErrno("supervisor.skip_kill") != kSkip) link_->Signal(SIGKILL);
}

void Attempt::Fence(absl::string_view message) {
  if (!std::exchange(fenced_, true) && CurrentStop().reason != StopReason::kAbandon)
    services_.observer.OnFenced();
  Kill(v1::ATTEMPT_FENCED, message);
}

void Attempt::ProtocolError(absl::string_view what) {
  Kill(v1::ATTEMPT_WORKER_LOST, absl::StrCat("the worker broke the protocol: ", what));
}

absl::Status Attempt::Change(std::function<absl::Status(JobDraft&)> apply, bool may_linger) {
  if (fenced_ || CurrentStop().reason >= StopReason::kFence)
    return absl::AbortedError("the attempt is fenced");
  const auto stamped = [this, apply = std::move(apply)](JobDraft& draft) {
    *draft.job.mutable_update_time() = ToProto(services_.clock.Wall());
    return apply(draft);
  };
  JobChange change{uid_,
                   "",
                   attempt_.fence(),
                   {v1::STARTING, v1::RUNNING, v1::PAUSING, v1::CANCELLING},
                   stamped,
                   may_linger};
  const absl::Status status = Await<v1::Job>([&](Reply<v1::Job> reply) {
                                services_.store.ChangeJob(std::move(change), std::move(reply));
                              }).status();
  if (absl::IsAborted(status)) Fence(status.message());
  return status;
}

void Attempt::End() {
  package_.reset();
  outputs_.reset();
  if (log_ != nullptr) log_->Close();
  const bool mine = claimed_ && !fenced_ && CurrentStop().reason < StopReason::kFence;
  if (mine) Commit();
}

void Attempt::Commit() {
  const double jitter = Jitter(uid_, attempt_.number());
  StateMemoryNeeded(end_);
  JobChange change{uid_,
                   "",
                   attempt_.fence(),
                   {v1::STARTING, v1::RUNNING, v1::PAUSING, v1::CANCELLING},
                   [&](JobDraft& draft) {
                     const absl::Time now = services_.clock.Wall();
                     Verdict verdict = Judge(draft.job, end_, services_.options.retry_base);
                     verdict.delay *= jitter;
                     draft.job.set_log_bytes(JobLogBytes(services_.options.log_folder, uid_));
                     if (progress_.has_value()) *draft.job.mutable_progress() = *progress_;
                     if (verdict.state == v1::SUCCEEDED)
                       draft.models = TrainedModels(draft.job, *end_.report, now);
                     return EndAttempt(draft, end_, verdict, now);
                   }};
  const absl::Status status = Await<v1::Job>([&](Reply<v1::Job> reply) {
                                services_.store.ChangeJob(std::move(change), std::move(reply));
                              }).status();
  ADAMANT_FAILPOINT("result.before_reply");
  if (status.ok()) return;
  if (absl::IsAborted(status)) return Fence(status.message());
  retry_at_ = services_.clock.Steady() + kCommitRetry;
}

AttemptOver Attempt::over() const { return {end_.outcome, killed_, retry_at_}; }

}  // namespace adamant
