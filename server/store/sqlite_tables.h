// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/store/sqlite_database.h"
#include "server/store/store_tables.h"

namespace adamant {

template <typename Message>
Message ParseStored(absl::string_view bytes) {
  Message message;
  message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  return message;
}

// The tables of sqlite_schema.cc. Errors stick in the database, whose status the caller asks before
// a commit.
class SqliteTables final : public StoreTables {
 public:
  explicit SqliteTables(SqliteDatabase& database) : database_(database) {}

  std::optional<JobRow> FindJob(absl::string_view uid) override;
  void InsertJob(const JobRow& row, absl::string_view request_id) override;
  bool UpdateJob(const JobRow& before, const JobRow& after) override;
  void RemoveJob(absl::string_view uid) override;
  int64_t CountJobs() override;
  std::vector<v1::Job> LiveJobs() override;
  void VisitHeaders(const std::function<void(JobHeader)>& visit) override;
  std::optional<JobRow> FindResult(absl::string_view tenant, absl::string_view digest) override;
  std::vector<std::string> ExpiredJobs(int64_t now, int limit) override;
  std::vector<std::string> BulkyJobs(int64_t ended_before, int64_t points, int limit) override;

  void AppendEvent(absl::string_view uid, const v1::JobEvent& event) override;
  std::vector<v1::JobEvent> ReadEvents(const EventQuery& query) override;
  void RewriteEvent(absl::string_view uid, const v1::JobEvent& event) override;
  int64_t CompactedThrough(absl::string_view uid) override;

  std::optional<RequestRow> FindRequest(absl::string_view tenant,
                                        absl::string_view request_id) override;
  void AddRequest(absl::string_view tenant, absl::string_view request_id,
                  const RequestRow& row) override;
  void EntombRequests(absl::string_view uid, int64_t delete_nanos) override;
  void RemoveTombstones(int64_t deleted_before) override;

  void AddReference(absl::string_view uid, absl::string_view name) override;
  std::vector<std::string> References(absl::string_view uid) override;
  std::optional<std::string> LiveUser(absl::string_view tenant, absl::string_view name) override;

  std::optional<std::string> FindResource(absl::string_view tenant,
                                          absl::string_view name) override;
  void PutResource(absl::string_view tenant, absl::string_view name,
                   absl::string_view bytes) override;
  void RemoveResource(absl::string_view tenant, absl::string_view name) override;
  std::vector<std::string> ListResources(absl::string_view tenant, absl::string_view prefix,
                                         absl::string_view after, int limit) override;
  std::vector<ResourceRow> AllResources(absl::string_view prefix) override;

  std::optional<BlobRow> FindBlob(absl::string_view tenant, absl::string_view sha256) override;
  void PutBlob(const BlobRow& row) override;
  void RemoveBlob(absl::string_view tenant, absl::string_view sha256) override;
  int64_t CountBlobBytes(absl::string_view tenant) override;
  std::vector<BlobRow> OwnersOf(absl::string_view sha256) override;
  std::vector<BlobRow> UnpinnedBlobs(absl::string_view tenant, int64_t used_until,
                                     int64_t leased_until, int limit) override;

  void AddPin(absl::string_view tenant, absl::string_view owner, absl::string_view sha256) override;
  void RemovePin(absl::string_view tenant, absl::string_view owner,
                 absl::string_view sha256) override;
  void RemovePins(absl::string_view tenant, absl::string_view owner) override;
  bool IsPinned(absl::string_view tenant, absl::string_view sha256) override;

 private:
  void InsertHistory(const JobRow& row, absl::string_view fixed);
  bool UpdateLive(const JobRow& before, const JobRow& after);
  bool MoveToHistory(const JobRow& before, const JobRow& after);
  bool UpdateHistory(const JobRow& before, const JobRow& after);

  SqliteDatabase& database_;
};

}  // namespace adamant
