// SPDX-License-Identifier: Apache-2.0
// Rows in and out, no rules: what a backend has to provide.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/store/job_row.h"
#include "server/store/job_store.h"

namespace adamant {

struct RequestRow {
  std::string content_digest;
  std::string uid;
  int64_t delete_nanos = 0;  // when its job was deleted; 0 = it is there
};

struct BlobRow {
  std::string tenant;
  v1::BlobRef blob;
  int64_t use_nanos = 0;
  int64_t lease_nanos = 0;  // kept until then
};

struct ResourceRow {
  std::string tenant;
  std::string bytes;
};

// All calls between two commits are one transaction and come from one thread. What goes wrong in
// the backend is its own business: the executor asks it before a commit.
class StoreTables {
 public:
  virtual ~StoreTables() = default;

  virtual std::optional<JobRow> FindJob(absl::string_view uid) = 0;
  virtual void InsertJob(const JobRow& row, absl::string_view request_id) = 0;
  // False when the row no longer has the fence and the state of `before`. A job that became
  // terminal moves to the history.
  virtual bool UpdateJob(const JobRow& before, const JobRow& after) = 0;
  // With its events and references.
  virtual void RemoveJob(absl::string_view uid) = 0;
  virtual int64_t CountJobs() = 0;
  virtual std::vector<v1::Job> LiveJobs() = 0;
  virtual void VisitHeaders(const std::function<void(JobHeader)>& visit) = 0;
  // The newest SUCCEEDED and reproducible one.
  virtual std::optional<JobRow> FindResult(absl::string_view tenant, absl::string_view digest) = 0;
  virtual std::vector<std::string> ExpiredJobs(int64_t now, int limit) = 0;
  // Terminal, with more than `points` metric points, not looked at yet.
  virtual std::vector<std::string> BulkyJobs(int64_t ended_before, int64_t points, int limit) = 0;

  virtual void AppendEvent(absl::string_view uid, const v1::JobEvent& event) = 0;
  virtual std::vector<v1::JobEvent> ReadEvents(const EventQuery& query) = 0;
  // Replaces the event of the same seq; without a body removes it.
  virtual void RewriteEvent(absl::string_view uid, const v1::JobEvent& event) = 0;
  virtual int64_t CompactedThrough(absl::string_view uid) = 0;

  virtual std::optional<RequestRow> FindRequest(absl::string_view tenant,
                                                absl::string_view request_id) = 0;
  virtual void AddRequest(absl::string_view tenant, absl::string_view request_id,
                          const RequestRow& row) = 0;
  virtual void EntombRequests(absl::string_view uid, int64_t delete_nanos) = 0;
  virtual void RemoveTombstones(int64_t deleted_before) = 0;

  virtual void AddReference(absl::string_view uid, absl::string_view name) = 0;
  virtual std::vector<std::string> References(absl::string_view uid) = 0;
  // A live job of the tenant that refers to `name`.
  virtual std::optional<std::string> LiveUser(absl::string_view tenant, absl::string_view name) = 0;

  // Names begin with `models/` or `datasets/`; lists are in the order of names.
  virtual std::optional<std::string> FindResource(absl::string_view tenant,
                                                  absl::string_view name) = 0;
  virtual void PutResource(absl::string_view tenant, absl::string_view name,
                           absl::string_view bytes) = 0;
  virtual void RemoveResource(absl::string_view tenant, absl::string_view name) = 0;
  virtual std::vector<std::string> ListResources(absl::string_view tenant, absl::string_view prefix,
                                                 absl::string_view after, int limit) = 0;
  virtual std::vector<ResourceRow> AllResources(absl::string_view prefix) = 0;

  virtual std::optional<BlobRow> FindBlob(absl::string_view tenant, absl::string_view sha256) = 0;
  virtual void PutBlob(const BlobRow& row) = 0;
  virtual void RemoveBlob(absl::string_view tenant, absl::string_view sha256) = 0;
  virtual int64_t CountBlobBytes(absl::string_view tenant) = 0;
  virtual std::vector<BlobRow> OwnersOf(absl::string_view sha256) = 0;
  // Without pin, last used and leased until the given times at most; by last use. Tenant "" = all.
  virtual std::vector<BlobRow> UnpinnedBlobs(absl::string_view tenant, int64_t used_until,
                                             int64_t leased_until, int limit) = 0;

  // `owner` is the name of a job, model or dataset.
  virtual void AddPin(absl::string_view tenant, absl::string_view owner,
                      absl::string_view sha256) = 0;
  virtual void RemovePin(absl::string_view tenant, absl::string_view owner,
                         absl::string_view sha256) = 0;
  virtual void RemovePins(absl::string_view tenant, absl::string_view owner) = 0;
  virtual bool IsPinned(absl::string_view tenant, absl::string_view sha256) = 0;
};

}  // namespace adamant
