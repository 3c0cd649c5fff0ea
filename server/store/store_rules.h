// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/job_store.h"
#include "server/store/store_executor.h"
#include "server/store/store_tables.h"

namespace adamant {

// What the store's clock shows; it never goes back, and runs while the machine sleeps.
using LeaseClock = std::function<absl::Duration()>;
LeaseClock BootClock();  // CLOCK_BOOTTIME

// What a transaction did to one job.
struct JobCommit {
  v1::Job job;
  std::vector<v1::JobEvent> events;
  std::vector<v1::Model> models;
  std::string request_id;  // of a submit
  bool changed = false;    // false: nothing was written
};

// The rules of the store, the same for every backend: guards, request ids, references, pins,
// numbering, deletion. Each method is the inside of one transaction, checks before it writes, and
// notes in the effect what it wrote. Used by one thread at a time; the tables must outlive it.
class StoreRules {
 public:
  StoreRules(StoreTables& tables, LeaseClock clock) : tables_(tables), clock_(std::move(clock)) {}

  // Unchanged when an earlier request made the job.
  absl::StatusOr<JobCommit> Submit(const NewJob& asked, StoreEffect& effect);
  absl::StatusOr<JobCommit> Change(const JobChange& change, StoreEffect& effect);
  absl::StatusOr<v1::Job> Find(const std::string& tenant, const std::string& uid);
  absl::StatusOr<v1::Job> FindResult(const std::string& tenant, const std::string& spec_digest);
  std::vector<JobHead> LoadLive();
  EventPage ReadEvents(const EventQuery& query);
  absl::StatusOr<v1::JobState> RenewLease(const std::string& uid, int64_t fence,
                                          absl::Duration ttl);

  // The jobs that are gone, as they were.
  absl::StatusOr<v1::Job> Delete(const std::string& tenant, const std::string& uid,
                                 const std::string& etag, absl::Time now, StoreEffect& effect);
  std::vector<v1::Job> DeleteExpired(absl::Time now, int limit, StoreEffect& effect);
  int64_t CompactMetrics(absl::Time ended_before, int limit, StoreEffect& effect);

  // The bytes of a resource; NOT_FOUND with the reason of its kind.
  absl::StatusOr<std::string> FindResource(const std::string& tenant, const std::string& name);
  void PutResource(const std::string& tenant, const std::string& name,
                   const google::protobuf::Message& resource);
  absl::Status DeleteResource(const std::string& tenant, const std::string& name);

  void PutBlobs(const std::string& tenant, const std::vector<v1::BlobRef>& blobs, absl::Time now);
  std::vector<v1::BlobRef> FindMissingBlobs(const std::string& tenant,
                                            const std::vector<v1::BlobRef>& blobs, absl::Time now);
  std::vector<v1::BlobRef> FindOwned(const std::vector<std::string>& digests);
  std::vector<v1::BlobRef> FindGarbage(const GarbageQuery& query);
  std::vector<v1::BlobRef> DropBlobs(const std::vector<v1::BlobRef>& blobs,
                                     const GarbageQuery& query);

 private:
  struct Lease {
    int64_t fence;
    absl::Duration until;
  };

  absl::StatusOr<JobCommit> FindEarlier(const NewJob& asked, const RequestRow& row);
  absl::Status CheckReferences(const NewJob& asked);
  absl::Status CheckBlobs(const std::string& tenant, const std::vector<v1::BlobRef>& blobs);
  void AddModels(JobDraft& draft);
  void AppendEvents(JobRow& row, std::vector<v1::JobEvent>& events, StoreEffect& effect);
  // The blobs inside `after` are pinned by `owner` instead of those inside `before`.
  void MovePins(const std::string& tenant, const std::string& owner,
                const google::protobuf::Message& before, const google::protobuf::Message& after);
  void Remove(const v1::Job& job, absl::Time now);
  bool Thin(JobRow row);

  StoreTables& tables_;
  const LeaseClock clock_;
  absl::flat_hash_map<std::string, Lease> leases_;  // by uid; void at every start
};

}  // namespace adamant
