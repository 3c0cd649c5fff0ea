// SPDX-License-Identifier: Apache-2.0
#include "server/store/sqlite_schema.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "server/store/blob_refs.h"
#include "server/store/sqlite_tables.h"

namespace adamant {
namespace {

// Columns of a WITHOUT ROWID table stand in the order of its key: quick_check of SQLite 3.40
// otherwise reports NULL values that are not there. A spec may have a megabyte and never changes:
// it stands alone, so that a transition does not rewrite it.
constexpr char kTables[] = R"(
CREATE TABLE jobs(
  uid TEXT PRIMARY KEY, tenant TEXT NOT NULL, kind INTEGER NOT NULL, state INTEGER NOT NULL,
  reason INTEGER NOT NULL, fence INTEGER NOT NULL, create_nanos INTEGER NOT NULL,
  metric_points INTEGER NOT NULL, fixed BLOB NOT NULL, job BLOB NOT NULL);
CREATE TABLE history(
  uid TEXT PRIMARY KEY, tenant TEXT NOT NULL, kind INTEGER NOT NULL, state INTEGER NOT NULL,
  reason INTEGER NOT NULL, create_nanos INTEGER NOT NULL, end_nanos INTEGER NOT NULL,
  expire_nanos INTEGER NOT NULL, reusable INTEGER NOT NULL, spec_digest TEXT NOT NULL,
  metric_points INTEGER NOT NULL, compacted_seq INTEGER NOT NULL, fixed BLOB NOT NULL,
  job BLOB NOT NULL);
CREATE INDEX history_by_expiry ON history(expire_nanos);
CREATE INDEX history_reusable ON history(tenant, spec_digest, create_nanos) WHERE reusable = 1;
CREATE INDEX history_uncompacted ON history(metric_points) WHERE compacted_seq = 0;
CREATE TABLE specs(uid TEXT PRIMARY KEY, spec BLOB NOT NULL);
CREATE TABLE requests(
  tenant TEXT NOT NULL, request_id TEXT NOT NULL, content_digest TEXT NOT NULL, uid TEXT NOT NULL,
  delete_nanos INTEGER NOT NULL, PRIMARY KEY(tenant, request_id)) WITHOUT ROWID;
CREATE INDEX requests_by_job ON requests(uid);
CREATE INDEX tombstones ON requests(delete_nanos) WHERE delete_nanos > 0;
CREATE TABLE job_references(
  name TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY(name, uid)) WITHOUT ROWID;
CREATE INDEX references_by_job ON job_references(uid);
CREATE TABLE events(
  uid TEXT NOT NULL, seq INTEGER NOT NULL, type INTEGER NOT NULL, event BLOB NOT NULL,
  PRIMARY KEY(uid, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resources(
  tenant TEXT NOT NULL, name TEXT NOT NULL, resource BLOB NOT NULL,
  PRIMARY KEY(tenant, name)) WITHOUT ROWID;
CREATE TABLE blobs(
  sha256 TEXT NOT NULL, tenant TEXT NOT NULL, size_bytes INTEGER NOT NULL,
  use_nanos INTEGER NOT NULL, lease_nanos INTEGER NOT NULL,
  PRIMARY KEY(sha256, tenant)) WITHOUT ROWID;
CREATE INDEX blobs_by_use ON blobs(use_nanos);
CREATE INDEX blobs_by_tenant ON blobs(tenant, size_bytes);
CREATE TABLE pins(
  tenant TEXT NOT NULL, sha256 TEXT NOT NULL, owner TEXT NOT NULL,
  PRIMARY KEY(tenant, sha256, owner)) WITHOUT ROWID;
CREATE INDEX pins_by_owner ON pins(tenant, owner);
)";

constexpr char kSetAside[] = R"(
DROP INDEX jobs_by_time; DROP INDEX jobs_live; DROP INDEX references_by_job;
ALTER TABLE jobs RENAME TO old_jobs;
ALTER TABLE requests RENAME TO old_requests;
ALTER TABLE job_references RENAME TO old_references;
ALTER TABLE events RENAME TO old_events;
ALTER TABLE blobs RENAME TO old_blobs;
)";

constexpr char kDropOld[] = R"(
INSERT INTO requests(tenant, request_id, content_digest, uid, delete_nanos)
  SELECT tenant, request_id, content_digest, uid, 0 FROM old_requests;
INSERT INTO job_references(name, uid) SELECT name, uid FROM old_references;
DROP TABLE old_requests; DROP TABLE old_references; DROP TABLE old_events; DROP TABLE old_blobs;
DROP TABLE old_jobs;
UPDATE meta SET value = 2 WHERE key = 'schema_version';
)";

template <typename Message>
void PinAll(SqliteTables& tables, absl::string_view tenant, const Message& message) {
  for (const v1::BlobRef& blob : BlobRefsIn(message))
    tables.AddPin(tenant, message.name(), blob.sha256());
}

int64_t MoveEvents(SqliteDatabase& database, SqliteTables& tables, const std::string& uid) {
  SqliteQuery query(database, "SELECT event FROM old_events WHERE uid = ?");
  int64_t points = 0;
  for (query.Text(uid); query.Next();) {
    const auto event = ParseStored<v1::JobEvent>(query.BlobAt(0));
    points += PointsIn(event);
    tables.AppendEvent(uid, event);
  }
  return points;
}

void MoveJobs(SqliteDatabase& database, SqliteTables& tables) {
  SqliteQuery query(database,
                    "SELECT uid, job, spec, result, (SELECT request_id FROM old_requests "
                    "WHERE old_requests.uid = old_jobs.uid) FROM old_jobs");
  while (query.Next()) {
    JobRow row{ParseStored<v1::Job>(query.BlobAt(1))};
    *row.job.mutable_spec() = ParseStored<v1::JobSpec>(query.BlobAt(2));
    if (!query.BlobAt(3).empty())
      *row.job.mutable_result() = ParseStored<v1::JobReport>(query.BlobAt(3));
    row.metric_points = MoveEvents(database, tables, query.TextAt(0));
    tables.InsertJob(row, query.TextAt(4));
    PinAll(tables, row.job.tenant(), row.job);
  }
}

void MoveBlobs(SqliteDatabase& database, SqliteTables& tables) {
  SqliteQuery query(database, "SELECT tenant, sha256, size_bytes FROM old_blobs");
  const int64_t now = NanosOf(absl::Now());
  while (query.Next()) {
    BlobRow row{query.TextAt(0), {}, now, 0};
    row.blob.set_sha256(query.TextAt(1));
    row.blob.set_size_bytes(query.IntAt(2));
    tables.PutBlob(row);
  }
}

absl::Status MigrateFrom1(SqliteDatabase& database) {
  RETURN_IF_ERROR(database.Execute(kSetAside));
  RETURN_IF_ERROR(database.Execute(kTables));
  SqliteTables tables(database);
  MoveJobs(database, tables);
  MoveBlobs(database, tables);
  for (const ResourceRow& row : tables.AllResources("models/"))
    PinAll(tables, row.tenant, ParseStored<v1::Model>(row.bytes));
  for (const ResourceRow& row : tables.AllResources("datasets/"))
    PinAll(tables, row.tenant, ParseStored<v1::Dataset>(row.bytes));
  return database.Execute(kDropOld);
}

}  // namespace

absl::Status PrepareSchema(SqliteDatabase& database) {
  RETURN_IF_ERROR(
      database.Execute("CREATE TABLE IF NOT EXISTS meta("
                       "key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID"));
  int64_t version = 0;
  {
    SqliteQuery query(database, "SELECT value FROM meta WHERE key = 'schema_version'");
    if (query.Next()) version = query.IntAt(0);
  }
  RETURN_IF_ERROR(database.status());
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the store has schema version ", version,
                                                      ", this server knows ", kSchemaVersion,
                                                      "; use a newer adamantd"));
  }
  if (version == kSchemaVersion) return absl::OkStatus();
  if (version == 1) return MigrateFrom1(database);
  RETURN_IF_ERROR(database.Execute(kTables));
  return database.Execute("INSERT INTO meta(key, value) VALUES('schema_version', 2)");
}

}  // namespace adamant
