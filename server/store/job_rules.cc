// SPDX-License-Identifier: Apache-2.0
// Submit, change, read: the rules about one job.
#include <time.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/error_reason.h"
#include "common/serialize.h"
#include "common/status_macros.h"
#include "server/store/blob_refs.h"
#include "server/store/store_errors.h"
#include "server/store/store_rules.h"

namespace adamant {
namespace {

absl::Status CheckGuards(const JobChange& change, const v1::Job& job) {
  const bool in_state = change.states.empty() ||
                        std::count(change.states.begin(), change.states.end(), job.state()) > 0;
  if (change.fence.has_value() && (*change.fence != FenceOf(job) || !in_state)) return Fenced();
  return in_state ? absl::OkStatus() : WrongState(job);
}

bool HoldsWorker(v1::JobState state) {
  return state == v1::STARTING || state == v1::RUNNING || state == v1::PAUSING ||
         state == v1::CANCELLING;
}

StoreStep StepOf(const v1::Job& before, const JobCommit& commit) {
  const bool moved = before.state() != commit.job.state();
  if (!before.has_result() && commit.job.has_result()) return StoreStep::kResult;
  if (moved && commit.job.state() == v1::STARTING) return StoreStep::kClaim;
  for (const v1::JobEvent& event : commit.events) {
    if (event.type() == v1::CHECKPOINT) return StoreStep::kCheckpoint;
  }
  if (moved) return StoreStep::kTransition;
  return commit.events.empty() ? StoreStep::kOther : StoreStep::kEvents;
}

int64_t RevisionOf(const v1::Job& job) {
  int64_t revision = 0;
  return absl::SimpleAtoi(job.etag(), &revision) ? revision : 0;
}

}  // namespace

LeaseClock BootClock() {
  return [] {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return absl::DurationFromTimespec(now);
  };
}

absl::StatusOr<JobCommit> StoreRules::FindEarlier(const NewJob& asked, const RequestRow& row) {
  const std::string name = absl::StrCat("jobs/", row.uid);
  if (row.delete_nanos != 0) {
    const std::string time = absl::FormatTime(
        absl::RFC3339_sec, absl::FromUnixNanos(row.delete_nanos), absl::UTCTimeZone());
    return WithReason(absl::FailedPreconditionError(
                          absl::StrCat("request_id ", asked.request_id, " made ", name,
                                       ", which was deleted at ", time, "; use a new one")),
                      "REQUEST_ID_JOB_DELETED", {{"job", name}, {"delete_time", time}});
  }
  if (row.content_digest != asked.content_digest) {
    return WithReason(
        absl::AlreadyExistsError(absl::StrCat("request_id ", asked.request_id, " was used for ",
                                              name, " with other content; use a new one")),
        "REQUEST_ID_CONFLICT", {{"job", name}});
  }
  std::optional<JobRow> found = tables_.FindJob(row.uid);
  if (!found.has_value()) return JobNotFound(row.uid);
  return JobCommit{std::move(found->job)};
}

absl::Status StoreRules::CheckReferences(const NewJob& asked) {
  for (const std::string& name : asked.references) {
    if (!tables_.FindResource(asked.job.tenant(), name).has_value()) return ResourceNotFound(name);
  }
  return absl::OkStatus();
}

absl::Status StoreRules::CheckBlobs(const std::string& tenant,
                                    const std::vector<v1::BlobRef>& blobs) {
  std::vector<v1::BlobRef> missing;
  for (const v1::BlobRef& blob : blobs) {
    const std::optional<BlobRow> row = tables_.FindBlob(tenant, blob.sha256());
    if (!row.has_value() || row->blob.size_bytes() != blob.size_bytes()) missing.push_back(blob);
  }
  return missing.empty() ? absl::OkStatus() : BlobsMissing(missing);
}

// Gives `events` their seq and stores them.
void StoreRules::AppendEvents(JobRow& row, std::vector<v1::JobEvent>& events, StoreEffect& effect) {
  const std::string uid = UidOf(row.job);
  for (v1::JobEvent& event : events) {
    event.set_seq(row.job.last_event_seq() + 1);
    row.job.set_last_event_seq(event.seq());
    row.metric_points += PointsIn(event);
    tables_.AppendEvent(uid, event);
  }
  effect.event_rows += static_cast<int>(events.size());
}

absl::StatusOr<JobCommit> StoreRules::Submit(const NewJob& asked, StoreEffect& effect) {
  const std::string& tenant = asked.job.tenant();
  if (!asked.request_id.empty()) {
    const std::optional<RequestRow> row = tables_.FindRequest(tenant, asked.request_id);
    if (row.has_value()) return FindEarlier(asked, *row);
  }
  RETURN_IF_ERROR(CheckReferences(asked));
  RETURN_IF_ERROR(CheckBlobs(tenant, BlobRefsIn(asked.job)));
  JobCommit commit{asked.job, {asked.event}, {}, asked.request_id, true};
  JobRow row{asked.job};
  const std::string uid = UidOf(row.job);
  row.job.set_etag("1");
  row.job.set_last_event_seq(0);
  AppendEvents(row, commit.events, effect);
  tables_.InsertJob(row, asked.request_id);
  for (const std::string& name : asked.references) tables_.AddReference(uid, name);
  if (!asked.request_id.empty())
    tables_.AddRequest(tenant, asked.request_id, {asked.content_digest, uid});
  MovePins(tenant, row.job.name(), v1::Job(), row.job);
  effect.step = StoreStep::kSubmit;
  commit.job = std::move(row.job);
  return commit;
}

void StoreRules::AddModels(JobDraft& draft) {
  const std::string tenant = draft.job.tenant();
  std::vector<v1::Model> added;
  for (v1::Model& model : draft.models) {
    if (!tables_.FindResource(tenant, model.name()).has_value()) {
      PutResource(tenant, model.name(), model);
      added.push_back(std::move(model));
      continue;
    }
    v1::JobEvent event = draft.events.empty() ? v1::JobEvent() : draft.events.front();
    event.set_type(v1::WARNING);
    event.set_terminal(false);
    event.mutable_warning()->set_code("MODEL_ID_TAKEN");
    event.mutable_warning()->set_text(absl::StrCat(
        model.name(), " exists already and was left alone; the weights of this job are blobs/",
        model.blob().sha256(), "/", model.blob().size_bytes()));
    draft.events.insert(draft.events.begin(), std::move(event));
  }
  draft.models = std::move(added);
}

absl::StatusOr<JobCommit> StoreRules::Change(const JobChange& change, StoreEffect& effect) {
  const std::optional<JobRow> before = tables_.FindJob(change.uid);
  if (!before.has_value() || (!change.tenant.empty() && change.tenant != before->job.tenant()))
    return JobNotFound(change.uid);
  RETURN_IF_ERROR(CheckGuards(change, before->job));
  JobDraft draft{before->job, {}, {}};
  RETURN_IF_ERROR(change.apply(draft));
  const bool changed = !draft.events.empty() || !draft.models.empty() ||
                       SerializeStably(draft.job) != SerializeStably(before->job);
  if (!changed) return JobCommit{std::move(draft.job)};
  AddModels(draft);
  JobRow after{std::move(draft.job), before->metric_points, before->compacted_through_seq};
  AppendEvents(after, draft.events, effect);
  after.job.set_etag(absl::StrCat(RevisionOf(before->job) + 1));
  if (!tables_.UpdateJob(*before, after))
    return absl::InternalError("a job changed under the writer");
  MovePins(after.job.tenant(), after.job.name(), before->job, after.job);
  if (FenceOf(before->job) != FenceOf(after.job))
    leases_[change.uid] = {FenceOf(after.job), clock_() + change.lease_ttl};
  JobCommit commit{
      std::move(after.job), std::move(draft.events), std::move(draft.models), {}, true};
  effect.step = StepOf(before->job, commit);
  return commit;
}

absl::StatusOr<v1::Job> StoreRules::Find(const std::string& tenant, const std::string& uid) {
  std::optional<JobRow> row = tables_.FindJob(uid);
  if (!row.has_value() || row->job.tenant() != tenant) return JobNotFound(uid);
  return std::move(row->job);
}

absl::StatusOr<v1::Job> StoreRules::FindResult(const std::string& tenant,
                                               const std::string& spec_digest) {
  std::optional<JobRow> row = tables_.FindResult(tenant, spec_digest);
  if (row.has_value()) return std::move(row->job);
  return WithReason(absl::NotFoundError("no reproducible job with this spec has succeeded"),
                    "JOB_NOT_FOUND", {{"spec_digest", spec_digest}});
}

std::vector<JobHead> StoreRules::LoadLive() {
  std::vector<JobHead> heads;
  for (v1::Job& job : tables_.LiveJobs()) {
    std::string uid = UidOf(job);
    std::vector<std::string> references = tables_.References(uid);
    heads.push_back({std::move(uid), std::move(job), std::move(references)});
  }
  return heads;
}

EventPage StoreRules::ReadEvents(const EventQuery& query) {
  return {tables_.ReadEvents(query), std::max<int64_t>(tables_.CompactedThrough(query.uid), 0)};
}

absl::StatusOr<v1::JobState> StoreRules::RenewLease(const std::string& uid, int64_t fence,
                                                    absl::Duration ttl) {
  const auto lease = leases_.find(uid);
  const absl::Duration now = clock_();
  if (lease == leases_.end() || lease->second.fence != fence || lease->second.until <= now)
    return Fenced();
  const std::optional<JobRow> row = tables_.FindJob(uid);
  if (!row.has_value() || FenceOf(row->job) != fence || !HoldsWorker(row->job.state()))
    return Fenced();
  lease->second.until = now + ttl;
  return row->job.state();
}

}  // namespace adamant
