// SPDX-License-Identifier: Apache-2.0
#include "server/store/basic_store.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/store/store_errors.h"

namespace adamant {

void BasicStore::Start(StoreExecutor& executor) {
  session_.tables.VisitHeaders([this](JobHeader header) { headers_.Add(std::move(header)); });
  for (const v1::Job& job : session_.tables.LiveJobs()) cache_.Put(job);
  session_.executor = &executor;
}

void BasicStore::AddObserver(StoreObserver* observer) { session_.observers.push_back(observer); }

void BasicStore::Tell(const JobCommit& commit) {
  if (!commit.changed) return;
  cache_.Put(commit.job);
  if (commit.job.etag() == "1") {
    headers_.Add(HeaderOf(commit.job, commit.request_id));
  } else {
    headers_.Update(commit.job);
  }
  for (StoreObserver* observer : session_.observers) {
    for (const v1::Model& model : commit.models) observer->OnModel(commit.job.tenant(), model);
    observer->OnJob(commit.job, commit.events);
  }
}

void BasicStore::TellGone(const v1::Job& job) {
  cache_.Remove(job);
  headers_.Remove(job);
  for (StoreObserver* observer : session_.observers) observer->OnJobGone(job);
}

void BasicStore::Submit(NewJob job, Reply<SubmittedJob> reply) {
  session_.Run<JobCommit>(
      true,
      [this, job = std::move(job)](StoreEffect& effect) {
        return session_.rules.Submit(job, effect);
      },
      [reply = std::move(reply)](absl::StatusOr<JobCommit> commit) {
        if (!commit.ok()) return reply(commit.status());
        reply(SubmittedJob{std::move(commit->job), !commit->changed});
      },
      [this](const JobCommit& commit) { Tell(commit); });
}

void BasicStore::GetJob(std::string tenant, std::string uid, Reply<v1::Job> reply) {
  if (absl::Status failure = session_.executor->failure(); !failure.ok()) return reply(failure);
  if (const std::shared_ptr<const v1::Job> job = cache_.Find(uid); job != nullptr) {
    if (job->tenant() != tenant) return reply(JobNotFound(uid));
    return reply(*job);
  }
  session_.Run<v1::Job>(
      false,
      [this, tenant = std::move(tenant), uid = std::move(uid)](StoreEffect&) {
        return session_.rules.Find(tenant, uid);
      },
      std::move(reply));
}

std::shared_ptr<const v1::Job> BasicStore::FindInMemory(const std::string& tenant,
                                                        const std::string& uid) const {
  std::shared_ptr<const v1::Job> job = cache_.Find(uid);
  const bool answers =
      job != nullptr && job->tenant() == tenant && session_.executor->failure().ok();
  return answers ? job : nullptr;
}

JobPage BasicStore::ReadPage(const JobHeaders::Found& found, int64_t max_bytes) {
  JobPage page{{}, found.next.create_nanos, found.next.uid};
  int64_t bytes = 0;
  for (const JobHeaders::Place& place : found.places) {
    if (bytes >= max_bytes) break;
    if (const std::shared_ptr<const v1::Job> job = cache_.Find(place.uid); job != nullptr) {
      page.jobs.push_back(*job);
    } else if (std::optional<JobRow> row = session_.tables.FindJob(place.uid); row.has_value()) {
      page.jobs.push_back(std::move(row->job));
    } else {
      continue;
    }
    bytes += static_cast<int64_t>(page.jobs.back().ByteSizeLong());
    const bool last = &place == &found.places.back();
    if (bytes < max_bytes || last) continue;
    page.next_create_nanos = place.create_nanos;
    page.next_uid = place.uid;
  }
  return page;
}

void BasicStore::ListJobs(JobListQuery query, Reply<JobPage> reply) {
  session_.Run<JobPage>(
      false,
      [this, found = headers_.Find(query), max_bytes = query.max_bytes](
          StoreEffect&) -> absl::StatusOr<JobPage> { return ReadPage(found, max_bytes); },
      std::move(reply));
}

void BasicStore::ChangeJob(JobChange change, Reply<v1::Job> reply) {
  const bool may_linger = change.may_linger;
  session_.Run<JobCommit>(
      true,
      [this, change = std::move(change)](StoreEffect& effect) {
        return session_.rules.Change(change, effect);
      },
      [reply = std::move(reply)](absl::StatusOr<JobCommit> commit) {
        if (!commit.ok()) return reply(commit.status());
        reply(std::move(commit->job));
      },
      [this](const JobCommit& commit) { Tell(commit); }, may_linger);
}

void BasicStore::LoadLiveJobs(Reply<std::vector<JobHead>> reply) {
  session_.Run<std::vector<JobHead>>(
      false,
      [this](StoreEffect&) -> absl::StatusOr<std::vector<JobHead>> {
        return session_.rules.LoadLive();
      },
      std::move(reply));
}

// Goes with the writes, so that its reply comes after those of all earlier operations.
void BasicStore::CountJobs(Reply<int64_t> reply) {
  session_.Run<int64_t>(
      true, [this](StoreEffect&) -> absl::StatusOr<int64_t> { return session_.tables.CountJobs(); },
      std::move(reply));
}

void BasicStore::ReadEvents(EventQuery query, Reply<EventPage> reply) {
  session_.Run<EventPage>(
      false,
      [this, query = std::move(query)](StoreEffect&) -> absl::StatusOr<EventPage> {
        return session_.rules.ReadEvents(query);
      },
      std::move(reply));
}

void BasicStore::FindRequest(std::string tenant, std::string request_id, Reply<std::string> reply) {
  session_.Run<std::string>(
      false,
      [this, tenant = std::move(tenant),
       request_id = std::move(request_id)](StoreEffect&) -> absl::StatusOr<std::string> {
        const std::optional<RequestRow> row = session_.tables.FindRequest(tenant, request_id);
        if (row.has_value() && row->delete_nanos == 0) return absl::StrCat("jobs/", row->uid);
        return absl::NotFoundError("no submit had this request_id");
      },
      std::move(reply));
}

void BasicStore::FindResult(std::string tenant, std::string spec_digest, Reply<v1::Job> reply) {
  session_.Run<v1::Job>(
      false,
      [this, tenant = std::move(tenant), digest = std::move(spec_digest)](StoreEffect&) {
        return session_.rules.FindResult(tenant, digest);
      },
      std::move(reply));
}

void BasicStore::DeleteJob(std::string tenant, std::string uid, std::string etag, absl::Time now,
                           Reply<Done> reply) {
  session_.Run<v1::Job>(
      true,
      [this, tenant = std::move(tenant), uid = std::move(uid), etag = std::move(etag),
       now](StoreEffect& effect) { return session_.rules.Delete(tenant, uid, etag, now, effect); },
      [reply = std::move(reply)](const absl::StatusOr<v1::Job>& job) {
        if (!job.ok()) return reply(job.status());
        reply(Done{});
      },
      [this](const v1::Job& job) { TellGone(job); });
}

void BasicStore::DeleteExpired(absl::Time now, int limit, Reply<std::vector<std::string>> reply) {
  session_.Run<std::vector<v1::Job>>(
      true,
      [this, now, limit](StoreEffect& effect) -> absl::StatusOr<std::vector<v1::Job>> {
        return session_.rules.DeleteExpired(now, limit, effect);
      },
      [reply = std::move(reply)](const absl::StatusOr<std::vector<v1::Job>>& gone) {
        if (!gone.ok()) return reply(gone.status());
        std::vector<std::string> uids;
        for (const v1::Job& job : *gone) uids.push_back(UidOf(job));
        reply(std::move(uids));
      },
      [this](const std::vector<v1::Job>& gone) {
        for (const v1::Job& job : gone) TellGone(job);
      });
}

void BasicStore::CompactMetrics(absl::Time ended_before, int limit, Reply<int64_t> reply) {
  session_.Run<int64_t>(
      true,
      [this, ended_before, limit](StoreEffect& effect) -> absl::StatusOr<int64_t> {
        return session_.rules.CompactMetrics(ended_before, limit, effect);
      },
      std::move(reply));
}

void BasicStore::RenewLease(std::string uid, int64_t fence, absl::Duration ttl,
                            Reply<v1::JobState> reply) {
  session_.Run<v1::JobState>(
      false,
      [this, uid = std::move(uid), fence, ttl](StoreEffect&) {
        return session_.rules.RenewLease(uid, fence, ttl);
      },
      std::move(reply));
}

void BasicStore::PutBlobs(std::string tenant, std::vector<v1::BlobRef> blobs, absl::Time now,
                          Reply<Done> reply) {
  session_.Run<Done>(
      true,
      [this, tenant = std::move(tenant), blobs = std::move(blobs),
       now](StoreEffect& effect) -> absl::StatusOr<Done> {
        session_.rules.PutBlobs(tenant, blobs, now);
        effect.step = StoreStep::kOther;
        return Done{};
      },
      std::move(reply));
}

void BasicStore::FindMissingBlobs(std::string tenant, std::vector<v1::BlobRef> blobs,
                                  absl::Time now, Reply<std::vector<v1::BlobRef>> reply) {
  session_.Run<std::vector<v1::BlobRef>>(
      true,
      [this, tenant = std::move(tenant), blobs = std::move(blobs),
       now](StoreEffect& effect) -> absl::StatusOr<std::vector<v1::BlobRef>> {
        effect.step = StoreStep::kOther;
        return session_.rules.FindMissingBlobs(tenant, blobs, now);
      },
      std::move(reply));
}

void BasicStore::CountBlobBytes(std::string tenant, Reply<int64_t> reply) {
  session_.Run<int64_t>(
      false,
      [this, tenant = std::move(tenant)](StoreEffect&) -> absl::StatusOr<int64_t> {
        return session_.tables.CountBlobBytes(tenant);
      },
      std::move(reply));
}

void BasicStore::FindGarbage(GarbageQuery query, Reply<std::vector<v1::BlobRef>> reply) {
  session_.Run<std::vector<v1::BlobRef>>(
      false,
      [this, query = std::move(query)](StoreEffect&) -> absl::StatusOr<std::vector<v1::BlobRef>> {
        return session_.rules.FindGarbage(query);
      },
      std::move(reply));
}

void BasicStore::FindOwned(std::vector<std::string> digests,
                           Reply<std::vector<v1::BlobRef>> reply) {
  session_.Run<std::vector<v1::BlobRef>>(
      false,
      [this, digests = std::move(digests)](StoreEffect&)
          -> absl::StatusOr<std::vector<v1::BlobRef>> { return session_.rules.FindOwned(digests); },
      std::move(reply));
}

void BasicStore::DropBlobs(std::vector<v1::BlobRef> blobs, GarbageQuery query,
                           Reply<std::vector<v1::BlobRef>> reply) {
  session_.Run<std::vector<v1::BlobRef>>(
      true,
      [this, blobs = std::move(blobs),
       query = std::move(query)](StoreEffect& effect) -> absl::StatusOr<std::vector<v1::BlobRef>> {
        effect.step = StoreStep::kOther;
        return session_.rules.DropBlobs(blobs, query);
      },
      std::move(reply));
}

}  // namespace adamant
