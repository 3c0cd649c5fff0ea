// SPDX-License-Identifier: Apache-2.0
// A blocking client of a JobStore, for its tests.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/error_reason.h"
#include "google/rpc/error_details.pb.h"
#include "server/jobs/job.h"
#include "server/store/await.h"
#include "server/store/job_store.h"
#include "server/store/store_rules.h"

namespace adamant::testing {

inline v1::BlobRef BlobOf(char digit, int64_t size = 3) {
  v1::BlobRef blob;
  blob.set_sha256(std::string(64, digit));
  blob.set_size_bytes(size);
  return blob;
}

inline google::rpc::ErrorInfo InfoOf(const absl::Status& status) {
  google::rpc::ErrorInfo info;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.ErrorInfo");
  if (payload.has_value()) info.ParseFromString(std::string(*payload));
  return info;
}

inline NewJob SomeJob(uint64_t seed = 1, const std::string& request_id = "") {
  v1::JobSpec spec;
  spec.mutable_train()->set_seed(seed);
  spec.mutable_train()->mutable_model()->mutable_architecture()->set_name("mini_gap");
  v1::SubmitOptions options;
  options.set_request_id(request_id);
  return MakeJob(spec, options, "local", "me", absl::Now());
}

// A job that trains from the weights of `blob`.
inline NewJob JobWithWeights(const v1::BlobRef& blob) {
  v1::JobSpec spec;
  *spec.mutable_train()->mutable_model()->mutable_weights()->mutable_blob() = blob;
  return MakeJob(spec, {}, "local", "me", absl::Now());
}

class StoreClient {
 public:
  explicit StoreClient(JobStore& store) : store_(store) {}

  absl::StatusOr<SubmittedJob> Submit(NewJob job) {
    return Await<SubmittedJob>([&](auto reply) { store_.Submit(std::move(job), reply); });
  }
  // The name of a job that was stored.
  std::string Add(NewJob job = SomeJob()) {
    const absl::StatusOr<SubmittedJob> submitted = Submit(std::move(job));
    EXPECT_TRUE(submitted.ok()) << submitted.status();
    return submitted.ok() ? submitted->job.name() : "jobs/none";
  }
  absl::StatusOr<v1::Job> Get(const std::string& name, const std::string& tenant = "local") {
    return Await<v1::Job>([&](auto reply) { store_.GetJob(tenant, name.substr(5), reply); });
  }
  absl::StatusOr<v1::Job> Change(JobChange change) {
    return Await<v1::Job>([&](auto reply) { store_.ChangeJob(std::move(change), reply); });
  }
  absl::StatusOr<v1::Job> Edit(const std::string& name,
                               std::function<absl::Status(JobDraft&)> apply) {
    return Change({name.substr(5), "", std::nullopt, {}, std::move(apply)});
  }
  absl::StatusOr<v1::Job> Claim(const std::string& name, absl::Duration ttl = absl::Seconds(30)) {
    JobChange claim{name.substr(5), "", std::nullopt, {v1::QUEUED}, [](JobDraft& draft) {
                      v1::Job& job = draft.job;
                      job.set_attempt(job.attempt() + 1);
                      job.add_attempts()->set_fence(job.attempt());
                      return MoveJob(draft, v1::STARTING, {}, "", absl::Now());
                    }};
    claim.lease_ttl = ttl;
    return Change(std::move(claim));
  }
  // Ends a claimed job with an empty report at `now`.
  absl::StatusOr<v1::Job> Succeed(const std::string& name, absl::Time now = absl::Now()) {
    return Edit(name, [now](JobDraft& draft) {
      draft.job.mutable_result()->mutable_train();
      return MoveJob(draft, v1::SUCCEEDED, {}, "", now);
    });
  }
  absl::StatusOr<v1::Job> Cancel(const std::string& name, absl::Time now = absl::Now()) {
    return Edit(name, [now](JobDraft& draft) { return CancelJob(draft, now); });
  }
  absl::Status Delete(const std::string& name, const std::string& etag = "",
                      absl::Time now = absl::Now(), const std::string& tenant = "local") {
    return Await<Done>(
               [&](auto reply) { store_.DeleteJob(tenant, name.substr(5), etag, now, reply); })
        .status();
  }
  absl::StatusOr<std::vector<std::string>> DeleteExpired(absl::Time now, int limit = 100) {
    return Await<std::vector<std::string>>(
        [&](auto reply) { store_.DeleteExpired(now, limit, reply); });
  }
  absl::StatusOr<v1::JobState> Renew(const std::string& name, int64_t fence,
                                     absl::Duration ttl = absl::Seconds(30)) {
    return Await<v1::JobState>(
        [&](auto reply) { store_.RenewLease(name.substr(5), fence, ttl, reply); });
  }
  EventPage ReadEvents(EventQuery query) {
    auto page = Await<EventPage>([&](auto reply) { store_.ReadEvents(query, reply); });
    EXPECT_TRUE(page.ok()) << page.status();
    return page.ok() ? *page : EventPage();
  }
  std::vector<v1::JobEvent> Events(const std::string& name, int64_t after = 0, int limit = 1000,
                                   std::vector<v1::EventType> types = {}) {
    return ReadEvents({name.substr(5), after, limit, std::move(types)}).events;
  }
  absl::StatusOr<JobPage> List(JobListQuery query) {
    return Await<JobPage>([&](auto reply) { store_.ListJobs(query, reply); });
  }
  // The names on all pages.
  std::vector<std::string> ListAll(JobListQuery query) {
    std::vector<std::string> names;
    do {
      const absl::StatusOr<JobPage> page = List(query);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) break;
      for (const v1::Job& job : page->jobs) names.push_back(job.name());
      query.after_create_nanos = page->next_create_nanos;
      query.after_uid = page->next_uid;
    } while (query.after_create_nanos != 0);
    return names;
  }
  int64_t Count() {
    return Await<int64_t>([&](auto reply) { store_.CountJobs(reply); }).value_or(-1);
  }
  std::vector<JobHead> Live() {
    return Await<std::vector<JobHead>>([&](auto reply) { store_.LoadLiveJobs(reply); })
        .value_or(std::vector<JobHead>());
  }
  absl::StatusOr<v1::Job> FindResult(const std::string& digest,
                                     const std::string& tenant = "local") {
    return Await<v1::Job>([&](auto reply) { store_.FindResult(tenant, digest, reply); });
  }
  int64_t Compact(absl::Time ended_before, int limit = 100) {
    return Await<int64_t>([&](auto reply) { store_.CompactMetrics(ended_before, limit, reply); })
        .value_or(-1);
  }
  absl::Status PutBlobs(std::vector<v1::BlobRef> blobs, absl::Time now = absl::Now(),
                        const std::string& tenant = "local") {
    return Await<Done>([&](auto reply) { store_.PutBlobs(tenant, std::move(blobs), now, reply); })
        .status();
  }
  size_t CountMissing(std::vector<v1::BlobRef> blobs, absl::Time now = absl::Now(),
                      const std::string& tenant = "local") {
    return Await<std::vector<v1::BlobRef>>(
               [&](auto reply) { store_.FindMissingBlobs(tenant, std::move(blobs), now, reply); })
        ->size();
  }
  int64_t CountBytes(const std::string& tenant = "local") {
    return Await<int64_t>([&](auto reply) { store_.CountBlobBytes(tenant, reply); }).value_or(-1);
  }
  // The first digits of the digests.
  std::string Garbage(const GarbageQuery& query) {
    return Digits(
        Await<std::vector<v1::BlobRef>>([&](auto reply) { store_.FindGarbage(query, reply); }));
  }
  std::string Drop(std::vector<v1::BlobRef> blobs, const GarbageQuery& query) {
    return Digits(Await<std::vector<v1::BlobRef>>(
        [&](auto reply) { store_.DropBlobs(std::move(blobs), query, reply); }));
  }
  absl::StatusOr<v1::Model> PutModel(const v1::Model& model, bool same = false,
                                     const std::string& tenant = "local") {
    return Await<v1::Model>([&](auto reply) {
      store_.models().Put(tenant, model, [same](const v1::Model&) { return same; }, reply);
    });
  }
  absl::Status DeleteModel(const std::string& name) {
    return Await<Done>([&](auto reply) { store_.models().Delete("local", name, reply); }).status();
  }

 private:
  static std::string Digits(const absl::StatusOr<std::vector<v1::BlobRef>>& blobs) {
    EXPECT_TRUE(blobs.ok()) << blobs.status();
    std::string digits;
    for (const v1::BlobRef& blob : *blobs) digits += blob.sha256()[0];
    return digits;
  }

  JobStore& store_;
};

}  // namespace adamant::testing
