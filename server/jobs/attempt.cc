// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/attempt.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/failpoint.h"
#include "common/status_macros.h"
#include "server/jobs/estimate.h"
#include "server/jobs/job.h"
#include "server/store/await.h"

namespace adamant {
namespace {

constexpr absl::Duration kClaimRetry = absl::Seconds(1);

}  // namespace

Attempt::Attempt(AttemptServices services, std::string uid, int slot, const Slot& place)
    : services_(services), uid_(std::move(uid)), slot_(slot), place_(place) {}

void Attempt::Stop(StopReason reason, absl::Duration grace) {
  const absl::Time now = services_.clock.Steady();
  absl::MutexLock lock(&mutex_);
  if (reason <= stop_.reason) return;
  stop_ = {reason, std::min(stop_.kill_at, now + grace)};
  if (running_ == nullptr) return;
  if (reason >= StopReason::kFence && FailpointErrno("supervisor.skip_kill") != kSkip)
    running_->Signal(SIGKILL);
  running_->Wake();
}

Attempt::StopRequest Attempt::CurrentStop() const {
  absl::MutexLock lock(&mutex_);
  return stop_;
}

bool Attempt::Begin() {
  if (!Claim().ok()) {
    // The job was cancelled or paused meanwhile, or the store failed.
    retry_at_ = services_.clock.Steady() + kClaimRetry;
    return false;
  }
  claimed_ = true;
  return OpenInputs();
}

absl::Status Attempt::Claim() {
  JobChange claim{uid_, "", std::nullopt, {v1::QUEUED}, [this](JobDraft& draft) {
                    const absl::Time now = services_.clock.Wall();
                    FillAttempt(draft.job, now);
                    return MoveJob(draft, v1::STARTING, v1::STATE_REASON_UNSPECIFIED, "", now);
                  }};
  claim.lease_ttl = services_.options.lease_ttl;
  ASSIGN_OR_RETURN(job_, Await<v1::Job>([&](Reply<v1::Job> reply) {
                     services_.store.ChangeJob(std::move(claim), std::move(reply));
                   }));
  attempt_ = LastAttempt(job_);
  claimed_at_ = services_.clock.Steady();
  for (const v1::Artifact& artifact : job_.artifacts()) published_.insert(artifact.blob().sha256());
  if (job_.options().has_max_run_time())
    deadline_ = claimed_at_ + DurationOf(job_.options().max_run_time()) - RunTimeSoFar(job_);
  return absl::OkStatus();
}

void Attempt::FillAttempt(v1::Job& job, absl::Time now) const {
  const int64_t fence = job.attempts().empty() ? 1 : LastAttempt(job).fence() + 1;
  const int divisor = NextMicroBatchDivisor(job);
  job.set_attempt(job.attempt() + 1);
  v1::Attempt& attempt = *job.add_attempts();
  attempt.set_number(job.attempt());
  attempt.set_fence(fence);
  attempt.set_worker(absl::StrCat("slot-", slot_));
  attempt.set_device(place_.device);
  attempt.set_sandbox_level("none");
  attempt.set_micro_batch_divisor(divisor);
  *attempt.mutable_start_time() = ToProto(now);
}

bool Attempt::OpenInputs() {
  absl::StatusOr<StartPackage> package = OpenJobInputs(job_, services_.store, services_.blobs);
  if (!package.ok()) {
    Kill(v1::ATTEMPT_DATA_ERROR, package.status().message());
    end_.error.set_code(static_cast<int>(package.status().code()));
    return false;
  }
  package_ = std::make_unique<StartPackage>(*std::move(package));
  earlier_log_bytes_ = JobLogBytes(services_.options.log_folder, uid_);
  auto log = JobLogWriter::Open(services_.options.log_folder, uid_, attempt_.number());
  if (log.ok()) log_ = *std::move(log);
  outputs_ = std::make_unique<WorkerOutputs>(services_.blobs, services_.options.scratch_folder);
  return true;
}

void Attempt::OnWorker(WorkerLink& link) {
  link_ = &link;
  {
    absl::MutexLock lock(&mutex_);
    running_ = &link;
  }
  worker::v1::Frame frame;
  worker::v1::Start& start = *frame.mutable_start() = std::move(package_->start);
  start.set_job_uid(uid_);
  start.set_attempt(attempt_.number());
  start.set_fence(attempt_.fence());
  start.set_device(place_.device);
  start.set_threads(place_.threads);
  start.set_micro_batch_divisor(attempt_.micro_batch_divisor());
  const v1::Resources& limits = job_.options().resources();
  start.set_memory_limit_bytes(limits.host_memory_bytes());
  const auto device = services_.options.device_memory_bytes.find(place_.device);
  if (device != services_.options.device_memory_bytes.end()) {
    start.set_device_memory_fraction(DeviceShare(limits.gpu_memory_bytes(), device->second));
  }
  watchdog_.emplace(services_.clock.Steady());
  ADAMANT_FAILPOINT("start.before");
  Send(std::move(frame), package_->descriptors());
  package_.reset();
  HandleStop(services_.clock.Steady());  // a stop may have come before
}

int64_t Attempt::resident_limit_bytes() const {
  return place_.device == "cpu" ? job_.options().resources().host_memory_bytes() : 0;
}

void Attempt::OnNoWorker(const absl::Status& status) {
  Kill(v1::ATTEMPT_WORKER_LOST, status.message());
}

void Attempt::OnOutput(absl::string_view bytes) {
  if (log_ == nullptr) return;
  const int64_t offset = earlier_log_bytes_ + log_->size();
  services_.hub.AddLog(uid_, attempt_, offset, log_->Append(bytes));
}

void Attempt::OnNews(WorkerNews& news, std::optional<int> wait_status) {
  switch (news.kind) {
    case WorkerNews::kFrame:
      if (!ended_) HandleFrame(news.received);
      break;
    case WorkerNews::kBroken:
      ProtocolError(news.error.message());
      break;
    case WorkerNews::kExited: {
      if (!ended_) OnExit(wait_status.value_or(0), news.error);
      absl::MutexLock lock(&mutex_);
      running_ = nullptr;
      link_ = nullptr;
      return;
    }
    case WorkerNews::kTimeout:
      HandleDeadlines(services_.clock.Steady());
      break;
    case WorkerNews::kWoken:
      break;
  }
  HandleStop(services_.clock.Steady());
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
  if (stop.reason >= StopReason::kFence) return Fence(MessageOfStop(stop.reason));
  if (told_ != stop.reason) {
    told_ = stop.reason;
    worker::v1::Frame frame;
    if (stop.reason == StopReason::kDrain || stop.reason == StopReason::kPause) {
      frame.mutable_drain()->set_pause(stop.reason == StopReason::kPause);
    } else {
      frame.mutable_cancel()->set_grace_seconds(absl::ToDoubleSeconds(stop.kill_at - now));
    }
    Send(std::move(frame));
  }
  if (now < stop.kill_at + signals_sent_ * services_.options.kill_grace) return;
  link_->Signal(signals_sent_ == 0 ? SIGTERM : SIGKILL);
  killed_ = true;
  ++signals_sent_;
}

void Attempt::HandleDeadlines(absl::Time now) {
  if (ended_) {
    if (now < exit_by_) return;
    link_->Signal(SIGKILL);
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

// A worker that does not read is found by the watchdog.
void Attempt::Send(worker::v1::Frame frame, const std::vector<int>& descriptors) {
  if (link_ != nullptr) link_->Send(std::move(frame), descriptors);
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
  if (!ended_) link_->Acknowledge(frame.number());
}

}  // namespace adamant
