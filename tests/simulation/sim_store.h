// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/error_reason.h"
#include "server/jobs/job.h"
#include "server/store/job_store.h"

namespace adamant::testing {

template <typename Resource>
class NoResources : public ResourceTable<Resource> {
 public:
  void Put(std::string, Resource, std::function<bool(const Resource&)>,
           Reply<Resource> reply) override {
    reply(Nothing());
  }
  void Get(std::string, std::string, Reply<Resource> reply) override { reply(Nothing()); }
  void Change(std::string, std::string, std::function<void(Resource&)>,
              Reply<Resource> reply) override {
    reply(Nothing());
  }
  void List(std::string, std::string, int, Reply<std::vector<Resource>> reply) override {
    reply(std::vector<Resource>());
  }
  void Delete(std::string, std::string, Reply<Done> reply) override { reply(Nothing()); }
  void LoadAll(Reply<std::vector<Owned<Resource>>> reply) override {
    reply(std::vector<Owned<Resource>>());
  }

 private:
  static absl::Status Nothing() { return absl::NotFoundError("no such resource"); }
};

// The jobs of a simulation, in memory. Commits and replies on the calling thread, keeps what it was
// told across restarts of the server, and checks the rules of the store itself. Not thread-safe.
class SimStore : public JobStore {
 public:
  struct Stored {
    v1::Job job;
    std::vector<v1::JobEvent> events;
  };
  const std::map<std::string, Stored>& jobs() const { return jobs_; }
  void DropObservers() { observers_.clear(); }

  void AddObserver(StoreObserver* observer) override { observers_.push_back(observer); }
  void Submit(NewJob job, Reply<SubmittedJob> reply) override;
  void GetJob(std::string tenant, std::string uid, Reply<v1::Job> reply) override;
  void ChangeJob(JobChange change, Reply<v1::Job> reply) override;
  void LoadLiveJobs(Reply<std::vector<JobHead>> reply) override;
  void RenewLease(std::string uid, int64_t fence, absl::Duration ttl,
                  Reply<v1::JobState> reply) override;
  void PutBlobs(std::string, std::vector<v1::BlobRef>, absl::Time, Reply<Done> reply) override {
    reply(Done());
  }
  ResourceTable<v1::Model>& models() override { return models_; }
  ResourceTable<v1::Dataset>& datasets() override { return datasets_; }

  // What no simulated part asks for.
  void ListJobs(JobListQuery, Reply<JobPage> reply) override { reply(Unused()); }
  void CountJobs(Reply<int64_t> reply) override { reply(Unused()); }
  void ReadEvents(EventQuery, Reply<EventPage> reply) override { reply(Unused()); }
  void FindRequest(std::string, std::string, Reply<std::string> reply) override { reply(Unused()); }
  void FindResult(std::string, std::string, Reply<v1::Job> reply) override { reply(Unused()); }
  void DeleteJob(std::string, std::string, std::string, absl::Time, Reply<Done> reply) override {
    reply(Unused());
  }
  void DeleteExpired(absl::Time, int, Reply<std::vector<std::string>> reply) override {
    reply(Unused());
  }
  void CompactMetrics(absl::Time, int, Reply<int64_t> reply) override { reply(Unused()); }
  void FindMissingBlobs(std::string, std::vector<v1::BlobRef>, absl::Time,
                        Reply<std::vector<v1::BlobRef>> reply) override {
    reply(Unused());
  }
  void CountBlobBytes(std::string, Reply<int64_t> reply) override { reply(Unused()); }
  void FindGarbage(GarbageQuery, Reply<std::vector<v1::BlobRef>> reply) override {
    reply(Unused());
  }
  void DropBlobs(std::vector<v1::BlobRef>, GarbageQuery,
                 Reply<std::vector<v1::BlobRef>> reply) override {
    reply(Unused());
  }
  void FindOwned(std::vector<std::string>, Reply<std::vector<v1::BlobRef>> reply) override {
    reply(Unused());
  }
  void Backup(std::string, Reply<Done> reply) override { reply(Unused()); }

 private:
  static absl::Status Unused() { return absl::UnimplementedError("not simulated"); }
  void Append(Stored& stored, std::vector<v1::JobEvent>& events);
  void Tell(const Stored& stored, const std::vector<v1::JobEvent>& events);

  std::map<std::string, Stored> jobs_;  // by uid
  std::vector<StoreObserver*> observers_;
  NoResources<v1::Model> models_;
  NoResources<v1::Dataset> datasets_;
};

}  // namespace adamant::testing
