// SPDX-License-Identifier: Apache-2.0
// What the end of an attempt means for its job (service.md 3.3).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "adamant/v1/job.pb.h"
#include "google/rpc/status.pb.h"
#include "server/store/job_store.h"

namespace adamant {

struct AttemptEnd {
  v1::AttemptOutcome outcome = v1::ATTEMPT_OUTCOME_UNSPECIFIED;
  google::rpc::Status error;            // unless it succeeded
  std::optional<v1::JobReport> report;  // ATTEMPT_SUCCEEDED
  std::string message;                  // for people, e.g. "the worker was killed by signal 9"
  int64_t peak_host_bytes = 0;
  int64_t peak_device_bytes = 0;
};

// Where the job goes.
struct Verdict {
  v1::JobState state = v1::FAILED;  // SUCCEEDED, FAILED, CANCELLED, PAUSED or QUEUED
  v1::StateReason reason = v1::INTERNAL;
  bool charged = false;  // the attempt counts towards max_attempts
  absl::Duration delay;  // QUEUED: not before this has passed, without jitter
};

// `job` is in the attempt that ended with `end`; `retry_base` is the delay after one lost worker.
Verdict Judge(const v1::Job& job, const AttemptEnd& end, absl::Duration retry_base);

// Adds to the message of an attempt that ran out of memory how much it needed.
void StateMemoryNeeded(AttemptEnd& end);
// What the next attempt divides an AUTO batch by: 2 after one ran out of memory, else 1.
int NextMicroBatchDivisor(const v1::Job& job);
// Of all ended attempts together; what max_run_time limits.
absl::Duration RunTimeSoFar(const v1::Job& job);

// The outcome of a worker that left without a Result frame; `wait_status` as of waitpid.
AttemptEnd EndOfSilentWorker(int wait_status);

// The outcome that a worker states for its own error, or ATTEMPT_INTERNAL when it is not one that a
// worker may state.
v1::AttemptOutcome CheckedOutcome(v1::AttemptOutcome stated);

// What a finished training registers: the model named by `register_as`, READY, or nothing.
std::vector<v1::Model> TrainedModels(const v1::Job& job, const v1::JobReport& report,
                                     absl::Time now);

// Writes the end into the attempt and moves the job as judged.
absl::Status EndAttempt(JobDraft& draft, const AttemptEnd& end, const Verdict& verdict,
                        absl::Time now);

// Ends a job that never started.
absl::Status FailJob(JobDraft& draft, v1::StateReason reason, const std::string& message,
                     absl::Time now);

// The end of an attempt whose server died: CANCELLED if that was asked, PAUSED likewise, else
// QUEUED, uncharged.
absl::Status RecoverJob(JobDraft& draft, absl::Time now);

// The same for the attempt with this fence, whose lease is over; any other is left alone.
absl::Status TakeOverJob(JobDraft& draft, int64_t fence, absl::Time now);

}  // namespace adamant
