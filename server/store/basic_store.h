// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "server/store/basic_resources.h"
#include "server/store/job_cache.h"
#include "server/store/job_headers.h"
#include "server/store/job_memory.h"
#include "server/store/job_store.h"
#include "server/store/store_session.h"

namespace adamant {

// Every operation of a JobStore but the backup, as rules over the tables of a backend. Live jobs
// and lists are answered from memory. Thread-safe once started.
class BasicStore : public JobStore, public JobMemory {
 public:
  void AddObserver(StoreObserver* observer) override;
  void Submit(NewJob job, Reply<SubmittedJob> reply) override;
  void GetJob(std::string tenant, std::string uid, Reply<v1::Job> reply) override;
  std::shared_ptr<const v1::Job> FindInMemory(const std::string& tenant,
                                              const std::string& uid) const override;
  void ListJobs(JobListQuery query, Reply<JobPage> reply) override;
  void ChangeJob(JobChange change, Reply<v1::Job> reply) override;
  void LoadLiveJobs(Reply<std::vector<JobHead>> reply) override;
  void CountJobs(Reply<int64_t> reply) override;
  void ReadEvents(EventQuery query, Reply<EventPage> reply) override;
  void FindRequest(std::string tenant, std::string request_id, Reply<std::string> reply) override;
  void FindResult(std::string tenant, std::string spec_digest, Reply<v1::Job> reply) override;
  void DeleteJob(std::string tenant, std::string uid, std::string etag, absl::Time now,
                 Reply<Done> reply) override;
  void DeleteExpired(absl::Time now, int limit, Reply<std::vector<std::string>> reply) override;
  void CompactMetrics(absl::Time ended_before, int limit, Reply<int64_t> reply) override;
  void RenewLease(std::string uid, int64_t fence, absl::Duration ttl,
                  Reply<v1::JobState> reply) override;
  ResourceTable<v1::Model>& models() override { return models_; }
  ResourceTable<v1::Dataset>& datasets() override { return datasets_; }
  void PutBlobs(std::string tenant, std::vector<v1::BlobRef> blobs, absl::Time now,
                Reply<Done> reply) override;
  void FindMissingBlobs(std::string tenant, std::vector<v1::BlobRef> blobs, absl::Time now,
                        Reply<std::vector<v1::BlobRef>> reply) override;
  void CountBlobBytes(std::string tenant, Reply<int64_t> reply) override;
  void FindOwned(std::vector<std::string> digests, Reply<std::vector<v1::BlobRef>> reply) override;
  void FindGarbage(GarbageQuery query, Reply<std::vector<v1::BlobRef>> reply) override;
  void DropBlobs(std::vector<v1::BlobRef> blobs, GarbageQuery query,
                 Reply<std::vector<v1::BlobRef>> reply) override;

 protected:
  // The tables must outlive the executor, which must end before this object does.
  BasicStore(StoreTables& tables, LeaseClock clock)
      : session_(tables, clock ? std::move(clock) : BootClock()) {}

  // Reads the tables into memory, then gives them to the executor.
  void Start(StoreExecutor& executor);
  StoreExecutor& executor() { return *session_.executor; }

 private:
  void Tell(const JobCommit& commit);
  void TellGone(const v1::Job& job);
  JobPage ReadPage(const JobHeaders::Found& found, int64_t max_bytes);

  StoreSession session_;
  JobCache cache_;
  JobHeaders headers_;
  BasicResources<v1::Model> models_{session_, "models/"};
  BasicResources<v1::Dataset> datasets_{session_, "datasets/"};
};

}  // namespace adamant
