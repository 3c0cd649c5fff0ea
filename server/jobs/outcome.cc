// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/outcome.h"

#include <sys/wait.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/worker_exit.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr int kDefaultMaxAttempts = 3;
constexpr int kPoisonAfter = 3;  // lost workers in a row
constexpr absl::Duration kMaxDelay = absl::Seconds(60);

v1::StateReason ReasonOfError(const AttemptEnd& end) {
  switch (end.outcome) {
    case v1::ATTEMPT_USER_ERROR:
      return v1::MODEL_INCOMPATIBLE;
    case v1::ATTEMPT_DATA_ERROR:
      return v1::DATA_ERROR;
    case v1::ATTEMPT_NUMERICAL:
      return v1::NUMERICAL;
    case v1::ATTEMPT_OUT_OF_MEMORY:
      return v1::OUT_OF_MEMORY;
    case v1::ATTEMPT_DEVICE_FAULT:
      return v1::DEVICE_FAULT;
    case v1::ATTEMPT_WORKER_LOST:
      return v1::WORKER_LOST;
    case v1::ATTEMPT_TIMEOUT:
      return v1::TIMEOUT;
    default:
      return v1::INTERNAL;
  }
}

// Lost workers at the end of the job's history, with the attempt that just ended.
int LostInARow(const v1::Job& job) {
  int lost = 1;
  for (int i = job.attempts_size() - 2; i >= 0; --i) {
    if (job.attempts(i).outcome() != v1::ATTEMPT_WORKER_LOST) break;
    ++lost;
  }
  return lost;
}

bool MayRetry(const v1::Job& job, v1::StateReason reason) {
  const v1::RetryPolicy& policy = job.options().retry_policy();
  const int limit = policy.has_max_attempts() ? policy.max_attempts() : kDefaultMaxAttempts;
  if (job.charged_attempts() + 1 >= limit) return false;
  const auto& classes = policy.classes();
  return classes.empty() || std::count(classes.begin(), classes.end(), reason) > 0;
}

Verdict JudgeLoss(const v1::Job& job, const AttemptEnd& end, absl::Duration retry_base) {
  const v1::StateReason reason = ReasonOfError(end);
  Verdict verdict{v1::FAILED, reason, true, absl::ZeroDuration()};
  const bool lost = end.outcome == v1::ATTEMPT_WORKER_LOST;
  const int in_a_row = lost ? LostInARow(job) : 1;
  if (lost && in_a_row >= kPoisonAfter) {
    verdict.reason = v1::POISON;
  } else if (MayRetry(job, reason)) {
    verdict.state = v1::QUEUED;
    verdict.delay = std::min(kMaxDelay, retry_base * std::pow(2.0, in_a_row - 1));
  }
  return verdict;
}

bool HasAutoBatch(const v1::JobSpec& spec) {
  if (spec.has_train()) return spec.train().batch_size() == 0;
  if (spec.has_attack()) return spec.attack().batch_size() == 0;
  return spec.explain().max_batch() == 0;
}

// A smaller micro-batch helps once, and only when the user did not fix the batch.
Verdict JudgeMemory(const v1::Job& job) {
  const bool smaller = HasAutoBatch(job.spec()) && LastAttempt(job).micro_batch_divisor() <= 1;
  if (smaller && MayRetry(job, v1::OUT_OF_MEMORY)) return {v1::QUEUED, v1::OUT_OF_MEMORY, true};
  return {v1::FAILED, v1::OUT_OF_MEMORY, true};
}

Verdict JudgeEnd(const v1::Job& job, const AttemptEnd& end, absl::Duration retry_base) {
  switch (end.outcome) {
    case v1::ATTEMPT_PAUSED:
      return {v1::PAUSED, v1::USER_REQUEST};
    case v1::ATTEMPT_DRAINED:
      return {v1::QUEUED, v1::DRAIN};
    case v1::ATTEMPT_SERVER_RESTART:
      return {v1::QUEUED, v1::SERVER_RESTART};
    case v1::ATTEMPT_FENCED:
      return {v1::QUEUED, v1::WORKER_LOST};
    case v1::ATTEMPT_DEVICE_FAULT:
    case v1::ATTEMPT_WORKER_LOST:
      return JudgeLoss(job, end, retry_base);
    case v1::ATTEMPT_OUT_OF_MEMORY:
      return JudgeMemory(job);
    default:
      return {v1::FAILED, ReasonOfError(end)};
  }
}

// Times of attempts are for display; a step of the wall clock must not make one negative.
absl::Duration NotNegative(absl::Duration duration) {
  return std::max(duration, absl::ZeroDuration());
}

AttemptEnd MakeEnd(v1::AttemptOutcome outcome, absl::StatusCode code, std::string message) {
  AttemptEnd end;
  end.outcome = outcome;
  end.error.set_code(static_cast<int>(code));
  end.error.set_message(message);
  end.message = std::move(message);
  return end;
}

// Whether the same spec gives the same result again. A training tells it itself; what is evaluated
// in one go depends on nothing but its spec.
void SetReproducible(v1::Job& job) {
  const v1::JobReport& report = job.result();
  if (report.has_train()) {
    job.set_reproducible(report.train().reproducible());
    job.set_reproducible_reason(report.train().reproducible_reason());
    job.set_fingerprint(report.train().fingerprint());
    return;
  }
  job.set_reproducible(job.attempts_size() == 1);
  if (!job.reproducible()) job.set_reproducible_reason("it took more than one attempt");
  job.set_fingerprint(report.has_attack() ? report.attack().fingerprint()
                                          : report.explain().fingerprint());
}

}  // namespace

Verdict Judge(const v1::Job& job, const AttemptEnd& end, absl::Duration retry_base) {
  if (end.outcome == v1::ATTEMPT_SUCCEEDED) return {v1::SUCCEEDED, v1::STATE_REASON_UNSPECIFIED};
  if (job.state() == v1::CANCELLING) return {v1::CANCELLED, v1::USER_REQUEST};
  Verdict verdict = JudgeEnd(job, end, retry_base);
  if (verdict.state == v1::QUEUED && job.state() == v1::PAUSING)
    verdict = {v1::PAUSED, v1::USER_REQUEST, verdict.charged};
  return verdict;
}

void StateMemoryNeeded(AttemptEnd& end) {
  if (end.outcome != v1::ATTEMPT_OUT_OF_MEMORY) return;
  const bool device = end.peak_device_bytes > 0;
  const int64_t peak = device ? end.peak_device_bytes : end.peak_host_bytes;
  absl::StrAppend(&end.message, "; it needed more than ", peak, " bytes of ",
                  device ? "device" : "host", " memory");
  end.error.set_code(static_cast<int>(absl::StatusCode::kResourceExhausted));
  end.error.set_message(end.message);
}

int NextMicroBatchDivisor(const v1::Job& job) {
  const auto& attempts = job.attempts();
  return HasAutoBatch(job.spec()) &&
                 std::any_of(attempts.begin(), attempts.end(),
                             [](const v1::Attempt& attempt) {
                               return attempt.outcome() == v1::ATTEMPT_OUT_OF_MEMORY;
                             })
             ? 2
             : 1;
}

absl::Duration RunTimeSoFar(const v1::Job& job) {
  absl::Duration total;
  for (const v1::Attempt& attempt : job.attempts()) {
    if (attempt.has_end_time())
      total += NotNegative(FromProto(attempt.end_time()) - FromProto(attempt.start_time()));
  }
  return total;
}

AttemptEnd EndOfSilentWorker(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return MakeEnd(v1::ATTEMPT_WORKER_LOST, absl::StatusCode::kUnavailable,
                   absl::StrCat("the worker was killed by signal ", WTERMSIG(wait_status)));
  }
  const int code = WEXITSTATUS(wait_status);
  switch (code) {
    case kExitData:
      return MakeEnd(v1::ATTEMPT_DATA_ERROR, absl::StatusCode::kInvalidArgument,
                     "the worker could not read its inputs; see the job log");
    case kExitInternal:
      return MakeEnd(v1::ATTEMPT_INTERNAL, absl::StatusCode::kInternal,
                     "the worker failed; see the job log");
    case kExitOutOfMemory:
      return MakeEnd(v1::ATTEMPT_OUT_OF_MEMORY, absl::StatusCode::kResourceExhausted,
                     "the worker ran out of memory; use a smaller batch_size");
    case kExitDevice:
      return MakeEnd(v1::ATTEMPT_DEVICE_FAULT, absl::StatusCode::kUnavailable, "the device failed");
    case kExitNumerical:
      return MakeEnd(v1::ATTEMPT_NUMERICAL, absl::StatusCode::kFailedPrecondition,
                     "the loss became non-finite; use a smaller learning rate");
    default:
      return MakeEnd(v1::ATTEMPT_WORKER_LOST, absl::StatusCode::kUnavailable,
                     absl::StrCat("the worker left with exit code ", code, " and no result"));
  }
}

v1::AttemptOutcome CheckedOutcome(v1::AttemptOutcome stated) {
  switch (stated) {
    case v1::ATTEMPT_USER_ERROR:
    case v1::ATTEMPT_DATA_ERROR:
    case v1::ATTEMPT_NUMERICAL:
    case v1::ATTEMPT_OUT_OF_MEMORY:
    case v1::ATTEMPT_DEVICE_FAULT:
      return stated;
    default:
      return v1::ATTEMPT_INTERNAL;
  }
}

std::vector<v1::Model> TrainedModels(const v1::Job& job, const v1::JobReport& report,
                                     absl::Time now) {
  const v1::TrainSpec& spec = job.spec().train();
  if (!report.has_train() || spec.register_as().empty() || !report.train().has_weights()) return {};
  v1::Model model;
  model.set_name(absl::StrCat("models/", spec.register_as()));
  model.set_display_name(job.options().display_name());
  if (spec.model().has_architecture()) *model.mutable_architecture() = spec.model().architecture();
  *model.mutable_blob() = report.train().weights();
  model.set_format(v1::SAFETENSORS);
  model.set_state(v1::READY);
  model.set_training_job(job.name());
  *model.mutable_create_time() = ToProto(now);
  return {model};
}

absl::Status EndAttempt(JobDraft& draft, const AttemptEnd& end, const Verdict& verdict,
                        absl::Time now) {
  v1::Job& job = draft.job;
  v1::Attempt& attempt = LastAttempt(job);
  *attempt.mutable_end_time() = ToProto(std::max(now, FromProto(attempt.start_time())));
  attempt.set_outcome(end.outcome);
  attempt.set_charged(verdict.charged);
  attempt.set_peak_host_bytes(end.peak_host_bytes);
  attempt.set_peak_device_bytes(end.peak_device_bytes);
  if (end.outcome != v1::ATTEMPT_SUCCEEDED && end.error.code() != 0)
    *attempt.mutable_error() = end.error;
  if (verdict.charged) job.set_charged_attempts(job.charged_attempts() + 1);
  if (verdict.state == v1::SUCCEEDED) {
    *job.mutable_result() = *end.report;
    SetReproducible(job);
  }
  if (verdict.state == v1::FAILED) *job.mutable_error() = end.error;

  const bool directly = CanMove(job.state(), verdict.state);
  if (!directly) RETURN_IF_ERROR(MoveJob(draft, v1::RECOVERING, verdict.reason, end.message, now));
  RETURN_IF_ERROR(MoveJob(draft, verdict.state, verdict.reason, end.message, now));
  if (verdict.delay > absl::ZeroDuration())
    *job.mutable_retry_time() = ToProto(now + verdict.delay);
  return absl::OkStatus();
}

absl::Status FailJob(JobDraft& draft, v1::StateReason reason, const std::string& message,
                     absl::Time now) {
  draft.job.mutable_error()->set_code(static_cast<int>(absl::StatusCode::kFailedPrecondition));
  draft.job.mutable_error()->set_message(message);
  return MoveJob(draft, v1::FAILED, reason, message, now);
}

absl::Status RecoverJob(JobDraft& draft, absl::Time now) {
  if (draft.job.state() == v1::RECOVERING)
    return MoveJob(draft, v1::QUEUED, v1::SERVER_RESTART, "the server was restarted", now);
  const AttemptEnd end = MakeEnd(v1::ATTEMPT_SERVER_RESTART, absl::StatusCode::kUnavailable,
                                 "the server was restarted");
  const google::protobuf::Timestamp last_sign = draft.job.update_time();
  RETURN_IF_ERROR(EndAttempt(draft, end, Judge(draft.job, end, absl::ZeroDuration()), now));
  // The time without a server is no running time.
  v1::Attempt& attempt = LastAttempt(draft.job);
  *attempt.mutable_end_time() =
      ToProto(std::max(FromProto(last_sign), FromProto(attempt.start_time())));
  return absl::OkStatus();
}

absl::Status TakeOverJob(JobDraft& draft, int64_t fence, absl::Time now) {
  if (!HasWorker(draft.job.state()) || LastAttempt(draft.job).fence() != fence)
    return absl::OkStatus();
  const AttemptEnd end = MakeEnd(v1::ATTEMPT_FENCED, absl::StatusCode::kUnavailable,
                                 "the attempt lost its lease; the job is queued again");
  return EndAttempt(draft, end, Judge(draft.job, end, absl::ZeroDuration()), now);
}

}  // namespace adamant
