// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/files.h"
#include "server/store/job_store.h"

namespace adamant::testing {

// A job store that keeps blob rows in memory and answers on the calling thread; everything else but
// the first event of a job is UNIMPLEMENTED. Lets a test act in the middle of garbage collection.
// Not thread-safe.
class BlobRows : public JobStore {
 public:
  struct Row {
    v1::BlobRef blob;
    absl::Time used;
    absl::Time leased_until;
    bool pinned = false;
  };
  std::map<std::pair<std::string, std::string>, Row> rows;  // by tenant and digest
  std::function<void()> before_drop;                        // in the transaction's place
  std::function<void()> after_drop;                         // committed, not yet answered
  int backups = 0;
  std::set<std::string> jobs;  // uids of jobs, each with one event
  bool jobs_fail = false;

  Row& Add(const v1::BlobRef& blob, absl::Time used, const std::string& tenant = "local") {
    return rows[{tenant, blob.sha256()}] = {blob, used, absl::InfinitePast(), false};
  }

  void PutBlobs(std::string tenant, std::vector<v1::BlobRef> blobs, absl::Time now,
                Reply<Done> reply) override {
    for (const v1::BlobRef& blob : blobs) Add(blob, now, tenant);
    reply(Done{});
  }
  void FindMissingBlobs(std::string tenant, std::vector<v1::BlobRef> blobs, absl::Time now,
                        Reply<std::vector<v1::BlobRef>> reply) override {
    std::vector<v1::BlobRef> missing;
    for (const v1::BlobRef& blob : blobs) {
      const auto row = rows.find({tenant, blob.sha256()});
      if (row == rows.end()) missing.push_back(blob);
      if (row != rows.end()) row->second.leased_until = now + absl::Hours(24);
    }
    reply(missing);
  }
  void FindGarbage(GarbageQuery query, Reply<std::vector<v1::BlobRef>> reply) override {
    std::multimap<absl::Time, v1::BlobRef> oldest_first;
    for (const auto& [key, row] : rows) {
      if (IsGarbage(row, query)) oldest_first.emplace(row.used, row.blob);
    }
    std::vector<v1::BlobRef> found;
    int64_t bytes = 0;
    for (const auto& [used, blob] : oldest_first) {
      if (query.max_bytes > 0 && bytes >= query.max_bytes) break;
      bytes += blob.size_bytes();
      found.push_back(blob);
    }
    reply(found);
  }
  void DropBlobs(std::vector<v1::BlobRef> blobs, GarbageQuery query,
                 Reply<std::vector<v1::BlobRef>> reply) override {
    if (before_drop) before_drop();
    std::vector<v1::BlobRef> dropped;
    for (const v1::BlobRef& blob : blobs) {
      const bool had = Owners(blob.sha256()) > 0;
      std::erase_if(rows, [&](const auto& entry) {
        return entry.first.second == blob.sha256() && IsGarbage(entry.second, query);
      });
      if (had && Owners(blob.sha256()) == 0) dropped.push_back(blob);
    }
    if (after_drop) after_drop();
    reply(dropped);
  }
  void FindOwned(std::vector<std::string> digests, Reply<std::vector<v1::BlobRef>> reply) override {
    std::vector<v1::BlobRef> owned;
    for (const auto& [key, row] : rows) {
      for (const std::string& digest : digests) {
        if (key.second == digest) owned.push_back(row.blob);
      }
    }
    reply(owned);
  }
  void Backup(std::string path, Reply<Done> reply) override {
    ++backups;
    const absl::Status written = WriteFileDurably(path, "backup");
    if (!written.ok()) return reply(written);
    reply(Done{});
  }

  void AddObserver(StoreObserver*) override {}
  void Submit(NewJob, Reply<SubmittedJob> reply) override { No(reply); }
  void GetJob(std::string, std::string, Reply<v1::Job> reply) override { No(reply); }
  void ListJobs(JobListQuery, Reply<JobPage> reply) override { No(reply); }
  void ChangeJob(JobChange, Reply<v1::Job> reply) override { No(reply); }
  void LoadLiveJobs(Reply<std::vector<JobHead>> reply) override { No(reply); }
  void CountJobs(Reply<int64_t> reply) override { No(reply); }
  void ReadEvents(EventQuery query, Reply<EventPage> reply) override {
    if (jobs_fail) return No(reply);
    EventPage page;
    if (jobs.count(query.uid) > 0) page.events.emplace_back().set_seq(1);
    reply(std::move(page));
  }
  void FindRequest(std::string, std::string, Reply<std::string> reply) override { No(reply); }
  void FindResult(std::string, std::string, Reply<v1::Job> reply) override { No(reply); }
  void DeleteJob(std::string, std::string, std::string, absl::Time, Reply<Done> reply) override {
    No(reply);
  }
  void DeleteExpired(absl::Time, int, Reply<std::vector<std::string>> reply) override { No(reply); }
  void CompactMetrics(absl::Time, int, Reply<int64_t> reply) override { No(reply); }
  void RenewLease(std::string, int64_t, absl::Duration, Reply<v1::JobState> reply) override {
    No(reply);
  }
  void CountBlobBytes(std::string, Reply<int64_t> reply) override { No(reply); }
  ResourceTable<v1::Model>& models() override { std::abort(); }
  ResourceTable<v1::Dataset>& datasets() override { std::abort(); }

 private:
  static bool IsGarbage(const Row& row, const GarbageQuery& query) {
    return !row.pinned && row.leased_until <= query.now && row.used <= query.now - query.unused_for;
  }
  int Owners(const std::string& digest) const {
    int count = 0;
    for (const auto& [key, row] : rows) count += key.second == digest ? 1 : 0;
    return count;
  }
  template <typename T>
  static void No(const Reply<T>& reply) {
    reply(absl::UnimplementedError("not part of this fake"));
  }
};

}  // namespace adamant::testing
