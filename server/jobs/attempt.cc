// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/attempt.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/jobs/inputs.h"
#include "server/jobs/job.h"
#include "server/store/await.h"

namespace adamant {
namespace {

constexpr absl::Duration kClaimRetry = absl::Seconds(1);

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status proto;
  proto.set_code(static_cast<int>(status.code()));
  proto.set_message(std::string(status.message()));
  return proto;
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
    default:
      return "the server was stopped; the job goes on after its next start";
  }
}

Attempt::Attempt(const JobServices& services, std::string uid, int slot)
    : services_(services), uid_(std::move(uid)), slot_(slot) {}

void Attempt::Stop(StopReason reason, absl::Duration grace) {
  absl::MutexLock lock(&mutex_);
  if (reason <= stop_.reason) return;
  stop_ = {reason, std::min(stop_.kill_at, absl::Now() + grace)};
  if (running_ != nullptr) running_->Wake();
}

Attempt::StopRequest Attempt::CurrentStop() const {
  absl::MutexLock lock(&mutex_);
  return stop_;
}

void Attempt::Run() {
  if (!Claim().ok()) {
    retry_at_ = absl::Now() + kClaimRetry;  // the job was cancelled meanwhile, or the store failed
    return;
  }
  if (StartWorker()) Supervise();
  if (worker_.has_value()) {
    {
      absl::MutexLock lock(&mutex_);
      running_ = nullptr;
    }
    worker_->process->Finish();
    worker_.reset();
  }
  if (log_ != nullptr) log_->Close();
  if (!fenced_ && CurrentStop().reason != StopReason::kAbandon) Commit();
}

absl::Status Attempt::Claim() {
  const Slot& slot = services_.pool.slots()[static_cast<size_t>(slot_)];
  JobChange claim{uid_, "", std::nullopt, {v1::QUEUED}, [&](JobDraft& draft) {
                    v1::Job& job = draft.job;
                    const int64_t fence = job.attempts().empty() ? 1 : LastAttempt(job).fence() + 1;
                    const absl::Time now = absl::Now();
                    job.set_attempt(job.attempt() + 1);
                    v1::Attempt& attempt = *job.add_attempts();
                    attempt.set_number(job.attempt());
                    attempt.set_fence(fence);
                    attempt.set_worker(absl::StrCat("slot-", slot_));
                    attempt.set_device(slot.device);
                    attempt.set_sandbox_level("none");
                    *attempt.mutable_start_time() = ToProto(now);
                    return MoveJob(draft, v1::STARTING, v1::STATE_REASON_UNSPECIFIED, "", now);
                  }};
  ASSIGN_OR_RETURN(job_, Await<v1::Job>([&](adamant::Reply<v1::Job> reply) {
                     services_.store.ChangeJob(std::move(claim), std::move(reply));
                   }));
  attempt_ = LastAttempt(job_);
  for (const v1::Artifact& artifact : job_.artifacts()) published_.insert(artifact.blob().sha256());
  if (job_.options().has_max_run_time())
    deadline_ =
        absl::Now() + absl::Seconds(job_.options().max_run_time().seconds()) - RunTimeSoFar(job_);
  return absl::OkStatus();
}

bool Attempt::StartWorker() {
  const Slot& slot = services_.pool.slots()[static_cast<size_t>(slot_)];
  absl::StatusOr<StartPackage> package = OpenJobInputs(job_, services_.store, services_.blobs);
  if (!package.ok()) {
    Kill(v1::ATTEMPT_DATA_ERROR, package.status().message());
    end_.error = ToRpcStatus(package.status());
    return false;
  }
  earlier_log_bytes_ = JobLogBytes(services_.options.log_folder, uid_);
  auto log = JobLogWriter::Open(services_.options.log_folder, uid_, attempt_.number());
  if (log.ok()) log_ = *std::move(log);
  outputs_ = std::make_unique<WorkerOutputs>(services_.blobs, services_.options.scratch_folder);
  absl::StatusOr<ReadyWorker> worker = services_.pool.Take();
  if (!worker.ok()) {
    Kill(v1::ATTEMPT_WORKER_LOST, worker.status().message());
    return false;
  }
  worker_ = *std::move(worker);
  worker_->process->SetOutput([this](absl::string_view bytes) { WriteLog(bytes); });
  {
    absl::MutexLock lock(&mutex_);
    running_ = worker_->process.get();
    running_->Wake();  // a stop may have come before
  }
  worker::v1::Frame frame;
  worker::v1::Start& start = *frame.mutable_start() = std::move(package->start);
  start.set_job_uid(uid_);
  start.set_attempt(attempt_.number());
  start.set_fence(attempt_.fence());
  start.set_device(slot.device);
  start.set_threads(slot.threads);
  watchdog_.emplace(absl::Now());
  Reply(std::move(frame), package->descriptors());
  return true;
}

void Attempt::Supervise() {
  while (true) {
    HandleStop(absl::Now());
    WorkerNews news = worker_->process->Next(NextDeadline());
    switch (news.kind) {
      case WorkerNews::kFrame:
        if (!ended_) HandleFrame(news.received);
        break;
      case WorkerNews::kBroken:
        ProtocolError(news.error.message());
        break;
      case WorkerNews::kExited:
        if (!ended_) OnExit(*worker_->process->wait_status());
        return;
      case WorkerNews::kTimeout:
        HandleDeadlines(absl::Now());
        break;
      case WorkerNews::kWoken:
        break;
    }
  }
}

absl::Time Attempt::NextDeadline() const {
  if (ended_) return exit_by_;
  const StopRequest stop = CurrentStop();
  const absl::Time signal_at = stop.kill_at + signals_sent_ * services_.options.kill_grace;
  return std::min({watchdog_->deadline(), deadline_, signal_at});
}

// Tells the worker once about each reason, and escalates when it does not listen.
void Attempt::HandleStop(absl::Time now) {
  const StopRequest stop = CurrentStop();
  if (stop.reason == StopReason::kNone || ended_) return;
  if (stop.reason == StopReason::kAbandon) {
    fenced_ = true;
    return Kill(v1::ATTEMPT_SERVER_RESTART, "the server stopped");
  }
  if (told_ != stop.reason) {
    told_ = stop.reason;
    worker::v1::Frame frame;
    if (stop.reason == StopReason::kDrain || stop.reason == StopReason::kPause) {
      frame.mutable_drain()->set_pause(stop.reason == StopReason::kPause);
    } else {
      frame.mutable_cancel()->set_grace_seconds(absl::ToDoubleSeconds(stop.kill_at - now));
    }
    Reply(std::move(frame));
  }
  if (now < stop.kill_at + signals_sent_ * services_.options.kill_grace) return;
  worker_->process->Signal(signals_sent_ == 0 ? SIGTERM : SIGKILL);
  ++signals_sent_;
}

void Attempt::HandleDeadlines(absl::Time now) {
  if (ended_) {
    if (now >= exit_by_) worker_->process->Signal(SIGKILL);
    exit_by_ = now + kExitLimit;
    return;
  }
  if (now >= deadline_) {
    deadline_ = absl::InfiniteFuture();
    Stop(StopReason::kTimeout, services_.options.cancel_grace);
  }
  if (const std::string hang = watchdog_->Verdict(now); !hang.empty())
    Kill(v1::ATTEMPT_WORKER_LOST, absl::StrCat("the worker hangs: ", hang));
}

void Attempt::OnExit(int wait_status) {
  const AttemptEnd silent = EndOfSilentWorker(wait_status);
  end_.outcome = silent.outcome;
  end_.message = silent.message;
  end_.error = silent.error;
  ended_ = true;
  if (const StopReason reason = CurrentStop().reason; reason != StopReason::kNone)
    EndStopped(reason);
}

void Attempt::EndStopped(StopReason reason) {
  end_.outcome = OutcomeOfStop(reason);
  end_.message = MessageOfStop(reason);
  end_.error =
      ToRpcStatus(reason == StopReason::kTimeout ? absl::DeadlineExceededError(end_.message)
                                                 : absl::CancelledError(end_.message));
}

void Attempt::WriteLog(absl::string_view bytes) {
  if (log_ == nullptr) return;
  const int64_t offset = earlier_log_bytes_ + log_->size();
  services_.hub.AddLog(uid_, attempt_, offset, log_->Append(bytes));
}

void Attempt::Kill(v1::AttemptOutcome outcome, absl::string_view message) {
  if (!ended_) {
    end_.outcome = outcome;
    end_.message = std::string(message);
    end_.error = ToRpcStatus(absl::UnavailableError(message));
    if (const StopReason reason = CurrentStop().reason; reason != StopReason::kNone)
      EndStopped(reason);
    ended_ = true;
    exit_by_ = absl::Now() + kExitLimit;
  }
  if (worker_.has_value()) worker_->process->Signal(SIGKILL);
}

void Attempt::ProtocolError(absl::string_view what) {
  Kill(v1::ATTEMPT_WORKER_LOST, absl::StrCat("the worker broke the protocol: ", what));
}

// A worker that does not read is found by the watchdog.
void Attempt::Reply(worker::v1::Frame frame, const std::vector<int>& descriptors) {
  worker_->process->Send(std::move(frame), descriptors).IgnoreError();
}

bool Attempt::Change(std::vector<v1::JobState> states,
                     std::function<absl::Status(JobDraft&)> apply) {
  JobChange change{uid_, "", attempt_.fence(), std::move(states), std::move(apply)};
  const absl::Status status = Await<v1::Job>([&](adamant::Reply<v1::Job> reply) {
                                services_.store.ChangeJob(std::move(change), std::move(reply));
                              }).status();
  if (status.ok()) return true;
  fenced_ = true;
  Kill(v1::ATTEMPT_FENCED, status.message());
  return false;
}

void Attempt::Commit() {
  absl::BitGen random;
  const double jitter = absl::Uniform(random, 0.8, 1.2);
  Verdict verdict;
  JobChange change{uid_,
                   "",
                   attempt_.fence(),
                   {v1::STARTING, v1::RUNNING, v1::PAUSING, v1::CANCELLING},
                   [&](JobDraft& draft) {
                     verdict = Judge(draft.job, end_, services_.options.retry_base);
                     draft.job.set_log_bytes(JobLogBytes(services_.options.log_folder, uid_));
                     if (progress_.has_value()) *draft.job.mutable_progress() = *progress_;
                     if (verdict.state == v1::SUCCEEDED)
                       draft.models = TrainedModels(draft.job, *end_.report, absl::Now());
                     return EndAttempt(draft, end_, verdict, absl::Now());
                   }};
  const absl::Status status = Await<v1::Job>([&](adamant::Reply<v1::Job> reply) {
                                services_.store.ChangeJob(std::move(change), std::move(reply));
                              }).status();
  retry_at_ = absl::Now() + (status.ok() ? verdict.delay * jitter : kClaimRetry);
}

void Attempt::HandleFrame(ReceivedFrame& received) {
  worker::v1::Frame& frame = received.frame;
  switch (frame.body_case()) {
    case worker::v1::Frame::kHeartbeat:
      OnHeartbeat(frame.heartbeat());
      break;
    case worker::v1::Frame::kProgress:
      OnProgress(std::move(*frame.mutable_progress()));
      break;
    case worker::v1::Frame::kMetric:
      OnMetric(frame.metric());
      break;
    case worker::v1::Frame::kWarning:
      OnWarning(frame.warning());
      break;
    case worker::v1::Frame::kLog:
      OnLog(frame.log());
      break;
    case worker::v1::Frame::kOpenOutput:
      OnOpenOutput(frame.open_output());
      break;
    case worker::v1::Frame::kCheckpoint:
      OnCheckpoint(frame.checkpoint());
      break;
    case worker::v1::Frame::kArtifact:
      OnArtifact(frame.artifact());
      break;
    case worker::v1::Frame::kResult:
      OnResult(*frame.mutable_result());
      break;
    default:
      return ProtocolError(absl::StrCat("unexpected frame ", frame.body_case()));
  }
  if (!ended_) worker_->process->Acknowledge(frame.number());
}

}  // namespace adamant
