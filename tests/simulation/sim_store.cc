// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/sim_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace adamant::testing {
namespace {

absl::Status Missing(const std::string& uid) {
  return WithReason(absl::NotFoundError(absl::StrCat("no job ", uid)), "JOB_NOT_FOUND");
}

int64_t FenceOf(const v1::Job& job) {
  return job.attempts().empty() ? 0 : LastAttempt(job).fence();
}

}  // namespace

void SimStore::Append(Stored& stored, std::vector<v1::JobEvent>& events) {
  for (v1::JobEvent& event : events) {
    event.set_seq(stored.job.last_event_seq() + 1);
    stored.job.set_last_event_seq(event.seq());
    stored.events.push_back(event);
  }
}

void SimStore::Tell(const Stored& stored, const std::vector<v1::JobEvent>& events) {
  const v1::Job job = stored.job;
  for (StoreObserver* observer : std::vector<StoreObserver*>(observers_))
    observer->OnJob(job, events);
}

void SimStore::Submit(NewJob job, Reply<SubmittedJob> reply) {
  Stored& stored = jobs_[job.job.name().substr(5)];
  stored.job = std::move(job.job);
  std::vector<v1::JobEvent> events{job.event};
  Append(stored, events);
  Tell(stored, events);
  reply(SubmittedJob{stored.job, false});
}

void SimStore::GetJob(std::string /*tenant*/, std::string uid, Reply<v1::Job> reply) {
  const auto found = jobs_.find(uid);
  if (found == jobs_.end()) return reply(Missing(uid));
  reply(found->second.job);
}

void SimStore::ChangeJob(JobChange change, Reply<v1::Job> reply) {
  const auto found = jobs_.find(change.uid);
  if (found == jobs_.end()) return reply(Missing(change.uid));
  Stored& stored = found->second;
  const bool state_fits =
      change.states.empty() ||
      std::count(change.states.begin(), change.states.end(), stored.job.state()) > 0;
  if (change.fence.has_value() && (*change.fence != FenceOf(stored.job) || !state_fits))
    return reply(WithReason(absl::AbortedError("fenced"), "FENCED"));
  if (!state_fits)
    return reply(WithReason(absl::FailedPreconditionError("wrong state"), "WRONG_STATE"));
  JobDraft draft{stored.job, {}, {}};
  if (const absl::Status status = change.apply(draft); !status.ok()) return reply(status);
  stored.job = std::move(draft.job);
  Append(stored, draft.events);
  Tell(stored, draft.events);
  reply(stored.job);
}

void SimStore::LoadLiveJobs(Reply<std::vector<JobHead>> reply) {
  std::vector<JobHead> heads;
  for (const auto& [uid, stored] : jobs_) {
    if (!IsTerminal(stored.job.state())) heads.push_back({uid, stored.job, {}});
  }
  reply(std::move(heads));
}

void SimStore::RenewLease(std::string uid, int64_t fence, absl::Duration /*ttl*/,
                          Reply<v1::JobState> reply) {
  const auto found = jobs_.find(uid);
  if (found == jobs_.end() || FenceOf(found->second.job) != fence ||
      !HasWorker(found->second.job.state()))
    return reply(WithReason(absl::AbortedError("fenced"), "FENCED"));
  reply(found->second.job.state());
}

}  // namespace adamant::testing
