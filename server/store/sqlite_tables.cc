// SPDX-License-Identifier: Apache-2.0
// All tables but jobs, history and specs.
#include "server/store/sqlite_tables.h"

#include <utility>

#include "common/serialize.h"

namespace adamant {
namespace {

constexpr size_t kMaxEventBytes = 1 << 20;  // of one ReadEvents

// Columns tenant, sha256, size_bytes, use_nanos, lease_nanos.
BlobRow BlobRowAt(const SqliteQuery& query) {
  BlobRow row{query.TextAt(0), {}, query.IntAt(3), query.IntAt(4)};
  row.blob.set_sha256(query.TextAt(1));
  row.blob.set_size_bytes(query.IntAt(2));
  return row;
}

std::vector<BlobRow> BlobRows(SqliteQuery& query) {
  std::vector<BlobRow> rows;
  while (query.Next()) rows.push_back(BlobRowAt(query));
  return rows;
}

// One bit per type; 0 = all.
int64_t MaskOf(const std::vector<v1::EventType>& types) {
  int64_t mask = 0;
  for (const v1::EventType type : types) mask |= int64_t{1} << type;
  return mask;
}

}  // namespace

void SqliteTables::AppendEvent(absl::string_view uid, const v1::JobEvent& event) {
  const std::string bytes = SerializeStably(event);
  SqliteQuery(database_, "INSERT INTO events(uid, seq, type, event) VALUES(?, ?, ?, ?)")
      .Text(uid)
      .Int(event.seq())
      .Int(event.type())
      .Blob(bytes)
      .Execute();
}

std::vector<v1::JobEvent> SqliteTables::ReadEvents(const EventQuery& events) {
  SqliteQuery query(database_,
                    "SELECT event FROM events WHERE uid = ?1 AND seq > ?2 AND "
                    "(?3 = 0 OR ((1 << type) & ?3) != 0) ORDER BY seq LIMIT ?4");
  query.Text(events.uid).Int(events.after).Int(MaskOf(events.types)).Int(events.limit);
  std::vector<v1::JobEvent> found;
  for (size_t bytes = 0; bytes < kMaxEventBytes && query.Next();) {
    bytes += query.BlobAt(0).size();
    found.push_back(ParseStored<v1::JobEvent>(query.BlobAt(0)));
  }
  return found;
}

void SqliteTables::RewriteEvent(absl::string_view uid, const v1::JobEvent& event) {
  SqliteQuery(database_, "DELETE FROM events WHERE uid = ? AND seq = ?")
      .Text(uid)
      .Int(event.seq())
      .Execute();
  if (event.body_case() != v1::JobEvent::BODY_NOT_SET) AppendEvent(uid, event);
}

int64_t SqliteTables::CompactedThrough(absl::string_view uid) {
  SqliteQuery query(database_, "SELECT compacted_seq FROM history WHERE uid = ?");
  return query.Text(uid).Next() ? query.IntAt(0) : 0;
}

std::optional<RequestRow> SqliteTables::FindRequest(absl::string_view tenant,
                                                    absl::string_view request_id) {
  SqliteQuery query(database_,
                    "SELECT content_digest, uid, delete_nanos FROM requests "
                    "WHERE tenant = ? AND request_id = ?");
  if (!query.Text(tenant).Text(request_id).Next()) return std::nullopt;
  return RequestRow{query.TextAt(0), query.TextAt(1), query.IntAt(2)};
}

void SqliteTables::AddRequest(absl::string_view tenant, absl::string_view request_id,
                              const RequestRow& row) {
  SqliteQuery(database_,
              "INSERT INTO requests(tenant, request_id, content_digest, uid, delete_nanos) "
              "VALUES(?, ?, ?, ?, ?)")
      .Text(tenant)
      .Text(request_id)
      .Text(row.content_digest)
      .Text(row.uid)
      .Int(row.delete_nanos)
      .Execute();
}

void SqliteTables::EntombRequests(absl::string_view uid, int64_t delete_nanos) {
  SqliteQuery(database_, "UPDATE requests SET delete_nanos = ? WHERE uid = ?")
      .Int(delete_nanos)
      .Text(uid)
      .Execute();
}

void SqliteTables::RemoveTombstones(int64_t deleted_before) {
  SqliteQuery(database_, "DELETE FROM requests WHERE delete_nanos > 0 AND delete_nanos < ?")
      .Int(deleted_before)
      .Execute();
}

void SqliteTables::AddReference(absl::string_view uid, absl::string_view name) {
  SqliteQuery(database_, "INSERT OR IGNORE INTO job_references(name, uid) VALUES(?, ?)")
      .Text(name)
      .Text(uid)
      .Execute();
}

std::vector<std::string> SqliteTables::References(absl::string_view uid) {
  SqliteQuery query(database_, "SELECT name FROM job_references WHERE uid = ? ORDER BY name");
  std::vector<std::string> names;
  for (query.Text(uid); query.Next();) names.push_back(query.TextAt(0));
  return names;
}

std::optional<std::string> SqliteTables::LiveUser(absl::string_view tenant,
                                                  absl::string_view name) {
  SqliteQuery query(database_,
                    "SELECT jobs.uid FROM job_references JOIN jobs USING(uid) "
                    "WHERE name = ? AND tenant = ? LIMIT 1");
  if (!query.Text(name).Text(tenant).Next()) return std::nullopt;
  return query.TextAt(0);
}

std::optional<std::string> SqliteTables::FindResource(absl::string_view tenant,
                                                      absl::string_view name) {
  SqliteQuery query(database_, "SELECT resource FROM resources WHERE tenant = ? AND name = ?");
  if (!query.Text(tenant).Text(name).Next()) return std::nullopt;
  return query.TextAt(0);
}

void SqliteTables::PutResource(absl::string_view tenant, absl::string_view name,
                               absl::string_view bytes) {
  SqliteQuery(database_, "INSERT OR REPLACE INTO resources(tenant, name, resource) VALUES(?, ?, ?)")
      .Text(tenant)
      .Text(name)
      .Blob(bytes)
      .Execute();
}

void SqliteTables::RemoveResource(absl::string_view tenant, absl::string_view name) {
  SqliteQuery(database_, "DELETE FROM resources WHERE tenant = ? AND name = ?")
      .Text(tenant)
      .Text(name)
      .Execute();
}

std::vector<std::string> SqliteTables::ListResources(absl::string_view tenant,
                                                     absl::string_view prefix,
                                                     absl::string_view after, int limit) {
  SqliteQuery query(database_,
                    "SELECT resource FROM resources WHERE tenant = ? AND name > ? AND "
                    "substr(name, 1, ?) = ? ORDER BY name LIMIT ?");
  query.Text(tenant).Text(after.empty() ? prefix : after);
  query.Int(static_cast<int64_t>(prefix.size())).Text(prefix).Int(limit);
  std::vector<std::string> found;
  while (query.Next()) found.push_back(query.TextAt(0));
  return found;
}

std::vector<ResourceRow> SqliteTables::AllResources(absl::string_view prefix) {
  SqliteQuery query(database_,
                    "SELECT tenant, resource FROM resources WHERE substr(name, 1, ?) = ?");
  query.Int(static_cast<int64_t>(prefix.size())).Text(prefix);
  std::vector<ResourceRow> all;
  while (query.Next()) all.push_back({query.TextAt(0), query.TextAt(1)});
  return all;
}

std::optional<BlobRow> SqliteTables::FindBlob(absl::string_view tenant, absl::string_view sha256) {
  SqliteQuery query(database_,
                    "SELECT tenant, sha256, size_bytes, use_nanos, lease_nanos FROM blobs "
                    "WHERE sha256 = ? AND tenant = ?");
  if (!query.Text(sha256).Text(tenant).Next()) return std::nullopt;
  return BlobRowAt(query);
}

void SqliteTables::PutBlob(const BlobRow& row) {
  SqliteQuery(database_,
              "INSERT OR REPLACE INTO blobs(sha256, tenant, size_bytes, use_nanos, lease_nanos) "
              "VALUES(?, ?, ?, ?, ?)")
      .Text(row.blob.sha256())
      .Text(row.tenant)
      .Int(row.blob.size_bytes())
      .Int(row.use_nanos)
      .Int(row.lease_nanos)
      .Execute();
}

void SqliteTables::RemoveBlob(absl::string_view tenant, absl::string_view sha256) {
  SqliteQuery(database_, "DELETE FROM blobs WHERE sha256 = ? AND tenant = ?")
      .Text(sha256)
      .Text(tenant)
      .Execute();
}

int64_t SqliteTables::CountBlobBytes(absl::string_view tenant) {
  SqliteQuery query(database_, "SELECT coalesce(sum(size_bytes), 0) FROM blobs WHERE tenant = ?");
  return query.Text(tenant).Next() ? query.IntAt(0) : 0;
}

std::vector<BlobRow> SqliteTables::OwnersOf(absl::string_view sha256) {
  SqliteQuery query(database_,
                    "SELECT tenant, sha256, size_bytes, use_nanos, lease_nanos FROM blobs "
                    "WHERE sha256 = ?");
  query.Text(sha256);
  return BlobRows(query);
}

std::vector<BlobRow> SqliteTables::UnpinnedBlobs(absl::string_view tenant, int64_t used_until,
                                                 int64_t leased_until, int limit) {
  SqliteQuery query(database_,
                    "SELECT tenant, sha256, size_bytes, use_nanos, lease_nanos FROM blobs "
                    "WHERE (?1 = '' OR tenant = ?1) AND use_nanos <= ?2 AND lease_nanos <= ?3 AND "
                    "NOT EXISTS (SELECT 1 FROM pins WHERE pins.tenant = blobs.tenant AND "
                    "pins.sha256 = blobs.sha256) ORDER BY use_nanos LIMIT ?4");
  query.Text(tenant).Int(used_until).Int(leased_until).Int(limit);
  return BlobRows(query);
}

void SqliteTables::AddPin(absl::string_view tenant, absl::string_view owner,
                          absl::string_view sha256) {
  SqliteQuery(database_, "INSERT OR IGNORE INTO pins(tenant, sha256, owner) VALUES(?, ?, ?)")
      .Text(tenant)
      .Text(sha256)
      .Text(owner)
      .Execute();
}

void SqliteTables::RemovePin(absl::string_view tenant, absl::string_view owner,
                             absl::string_view sha256) {
  SqliteQuery(database_, "DELETE FROM pins WHERE tenant = ? AND sha256 = ? AND owner = ?")
      .Text(tenant)
      .Text(sha256)
      .Text(owner)
      .Execute();
}

void SqliteTables::RemovePins(absl::string_view tenant, absl::string_view owner) {
  SqliteQuery(database_, "DELETE FROM pins WHERE tenant = ? AND owner = ?")
      .Text(tenant)
      .Text(owner)
      .Execute();
}

bool SqliteTables::IsPinned(absl::string_view tenant, absl::string_view sha256) {
  SqliteQuery query(database_, "SELECT 1 FROM pins WHERE tenant = ? AND sha256 = ? LIMIT 1");
  return query.Text(tenant).Text(sha256).Next();
}

}  // namespace adamant
