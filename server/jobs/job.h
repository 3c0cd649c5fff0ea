// SPDX-License-Identifier: Apache-2.0
// The life of a job: names, legal transitions, and how a transition is written.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "adamant/v1/job.pb.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "server/store/job_store.h"

namespace adamant {

// 128 random bits as 26 characters of lower-case base32.
std::string NewJobUid();
// `jobs/{uid}`.
std::string JobName(absl::string_view uid);
// The uid of `jobs/{uid}`. NOT_FOUND / JOB_NOT_FOUND when it is not of that form.
absl::StatusOr<std::string> JobUid(absl::string_view name);

v1::JobKind KindOf(const v1::JobSpec& spec);
// Hex SHA-256 of the deterministic serialisation.
std::string SpecDigest(const v1::JobSpec& spec);
// `models/{id}`, `datasets/{id}` that the spec names, each once.
std::vector<std::string> ReferencesOf(const v1::JobSpec& spec);
// The model source of any kind of spec.
const v1::ModelSource& ModelSourceOf(const v1::JobSpec& spec);

// A job ready for JobStore::Submit, in QUEUED (PAUSED with start_paused). `spec` and `options` are
// normalised; `options.request_id` moves into the result.
NewJob MakeJob(v1::JobSpec spec, v1::SubmitOptions options, absl::string_view tenant,
               absl::string_view owner, absl::Time now);

bool IsTerminal(v1::JobState state);
// A worker holds the job: STARTING, RUNNING, PAUSING, CANCELLING.
bool HasWorker(v1::JobState state);
// The table of service.md 3.1.
bool CanMove(v1::JobState from, v1::JobState to);

// Moves the draft's job to `to`, sets the times that belong to it, and appends the STATE event.
// FAILED_PRECONDITION / WRONG_STATE when the table forbids it.
absl::Status MoveJob(JobDraft& draft, v1::JobState to, v1::StateReason reason,
                     absl::string_view message, absl::Time now);

// What CancelJob does in each state: cancels a waiting job, asks a running one to stop, leaves a
// cancelled or cancelling one alone. FAILED_PRECONDITION / WRONG_STATE for SUCCEEDED and FAILED.
absl::Status CancelJob(JobDraft& draft, absl::Time now);
// What PauseJob does: a QUEUED job becomes PAUSED, one with a worker PAUSING; PAUSING and PAUSED
// stay. WRONG_STATE for CANCELLING and terminal jobs.
absl::Status PauseJob(JobDraft& draft, absl::Time now);
// What ResumeJob does: PAUSED becomes QUEUED; QUEUED, STARTING, RUNNING and RECOVERING stay.
// WRONG_STATE for PAUSING, CANCELLING and terminal jobs.
absl::Status ResumeJob(JobDraft& draft, absl::Time now);
// ABORTED / ETAG_MISMATCH when `etag` is neither empty nor the job's.
absl::Status CheckEtag(const v1::Job& job, absl::string_view etag);

// Appends an event stamped with the time, attempt and fence of the job.
v1::JobEvent& AddEvent(JobDraft& draft, v1::EventType type, absl::Time now);

// The attempt in progress or the last one; the job must have one.
v1::Attempt& LastAttempt(v1::Job& job);
const v1::Attempt& LastAttempt(const v1::Job& job);

google::protobuf::Timestamp ToProto(absl::Time time);
absl::Time FromProto(const google::protobuf::Timestamp& time);
absl::Duration DurationOf(const google::protobuf::Duration& duration);

}  // namespace adamant
