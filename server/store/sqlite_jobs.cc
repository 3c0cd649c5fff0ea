// SPDX-License-Identifier: Apache-2.0
// The tables jobs, history and specs.
#include <utility>

#include "common/serialize.h"
#include "server/store/sqlite_tables.h"

namespace adamant {
namespace {

// The part of a job that changes.
std::string WithoutSpec(v1::Job job) {
  job.clear_spec();
  return SerializeStably(job);
}

// Columns job, spec, metric_points, compacted_seq.
JobRow RowAt(const SqliteQuery& query) {
  JobRow row{ParseStored<v1::Job>(query.BlobAt(0)), query.IntAt(2), query.IntAt(3)};
  *row.job.mutable_spec() = ParseStored<v1::JobSpec>(query.BlobAt(1));
  return row;
}

std::vector<std::string> Texts(SqliteQuery& query) {
  std::vector<std::string> texts;
  while (query.Next()) texts.push_back(query.TextAt(0));
  return texts;
}

bool IsReusable(const v1::Job& job) { return job.state() == v1::SUCCEEDED && job.reproducible(); }

}  // namespace

std::optional<JobRow> SqliteTables::FindJob(absl::string_view uid) {
  {
    SqliteQuery live(database_,
                     "SELECT job, spec, metric_points, 0 FROM jobs JOIN specs USING(uid) "
                     "WHERE jobs.uid = ?");
    if (live.Text(uid).Next()) return RowAt(live);
  }
  SqliteQuery ended(database_,
                    "SELECT job, spec, metric_points, compacted_seq FROM history JOIN specs "
                    "USING(uid) WHERE history.uid = ?");
  if (ended.Text(uid).Next()) return RowAt(ended);
  return std::nullopt;
}

void SqliteTables::InsertJob(const JobRow& row, absl::string_view request_id) {
  const JobHeader header = HeaderOf(row.job, request_id);
  const std::string spec = SerializeStably(row.job.spec());
  SqliteQuery(database_, "INSERT INTO specs(uid, spec) VALUES(?, ?)")
      .Text(header.uid)
      .Blob(spec)
      .Execute();
  if (!IsLive(row.job)) return InsertHistory(row, header.fixed);
  const std::string bytes = WithoutSpec(row.job);
  SqliteQuery(database_,
              "INSERT INTO jobs(uid, tenant, kind, state, reason, fence, create_nanos, "
              "metric_points, fixed, job) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .Text(header.uid)
      .Text(header.tenant)
      .Int(header.kind)
      .Int(header.state)
      .Int(header.reason)
      .Int(FenceOf(row.job))
      .Int(header.create_nanos)
      .Int(row.metric_points)
      .Blob(header.fixed)
      .Blob(bytes)
      .Execute();
}

void SqliteTables::InsertHistory(const JobRow& row, absl::string_view fixed) {
  const v1::Job& job = row.job;
  const std::string uid = UidOf(job);
  const std::string bytes = WithoutSpec(job);
  SqliteQuery(database_,
              "INSERT INTO history(uid, tenant, kind, state, reason, create_nanos, end_nanos, "
              "expire_nanos, reusable, spec_digest, metric_points, compacted_seq, fixed, job) "
              "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .Text(uid)
      .Text(job.tenant())
      .Int(job.kind())
      .Int(job.state())
      .Int(job.state_reason())
      .Int(NanosOf(job.create_time()))
      .Int(NanosOf(job.end_time()))
      .Int(NanosOf(job.expire_time()))
      .Int(IsReusable(job) ? 1 : 0)
      .Text(job.spec_digest())
      .Int(row.metric_points)
      .Int(row.compacted_through_seq)
      .Blob(fixed)
      .Blob(bytes)
      .Execute();
}

bool SqliteTables::UpdateJob(const JobRow& before, const JobRow& after) {
  if (!IsLive(before.job)) return UpdateHistory(before, after);
  return IsLive(after.job) ? UpdateLive(before, after) : MoveToHistory(before, after);
}

bool SqliteTables::UpdateLive(const JobRow& before, const JobRow& after) {
  const std::string uid = UidOf(before.job);
  const std::string bytes = WithoutSpec(after.job);
  return SqliteQuery(database_,
                     "UPDATE jobs SET state = ?, reason = ?, fence = ?, metric_points = ?, job = ? "
                     "WHERE uid = ? AND fence = ? AND state = ?")
             .Int(after.job.state())
             .Int(after.job.state_reason())
             .Int(FenceOf(after.job))
             .Int(after.metric_points)
             .Blob(bytes)
             .Text(uid)
             .Int(FenceOf(before.job))
             .Int(before.job.state())
             .Execute() == 1;
}

bool SqliteTables::MoveToHistory(const JobRow& before, const JobRow& after) {
  const std::string uid = UidOf(before.job);
  std::string fixed;
  {
    SqliteQuery query(database_,
                      "SELECT fixed FROM jobs WHERE uid = ? AND fence = ? AND state = ?");
    query.Text(uid).Int(FenceOf(before.job)).Int(before.job.state());
    if (!query.Next()) return false;
    fixed = query.TextAt(0);
  }
  SqliteQuery(database_, "DELETE FROM jobs WHERE uid = ?").Text(uid).Execute();
  InsertHistory(after, fixed);
  return true;
}

bool SqliteTables::UpdateHistory(const JobRow& before, const JobRow& after) {
  const std::string uid = UidOf(before.job);
  const std::string bytes = WithoutSpec(after.job);
  return SqliteQuery(database_,
                     "UPDATE history SET state = ?, reason = ?, end_nanos = ?, expire_nanos = ?, "
                     "reusable = ?, metric_points = ?, compacted_seq = ?, job = ? "
                     "WHERE uid = ? AND state = ?")
             .Int(after.job.state())
             .Int(after.job.state_reason())
             .Int(NanosOf(after.job.end_time()))
             .Int(NanosOf(after.job.expire_time()))
             .Int(IsReusable(after.job) ? 1 : 0)
             .Int(after.metric_points)
             .Int(after.compacted_through_seq)
             .Blob(bytes)
             .Text(uid)
             .Int(before.job.state())
             .Execute() == 1;
}

void SqliteTables::RemoveJob(absl::string_view uid) {
  for (const char* sql : {"DELETE FROM jobs WHERE uid = ?", "DELETE FROM history WHERE uid = ?",
                          "DELETE FROM specs WHERE uid = ?", "DELETE FROM events WHERE uid = ?",
                          "DELETE FROM job_references WHERE uid = ?"}) {
    SqliteQuery(database_, sql).Text(uid).Execute();
  }
}

int64_t SqliteTables::CountJobs() {
  SqliteQuery query(database_,
                    "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM history)");
  return query.Next() ? query.IntAt(0) : 0;
}

std::vector<v1::Job> SqliteTables::LiveJobs() {
  SqliteQuery query(database_, "SELECT job, spec, 0, 0 FROM jobs JOIN specs USING(uid)");
  std::vector<v1::Job> jobs;
  while (query.Next()) jobs.push_back(RowAt(query).job);
  return jobs;
}

void SqliteTables::VisitHeaders(const std::function<void(JobHeader)>& visit) {
  SqliteQuery query(database_,
                    "SELECT uid, tenant, create_nanos, 0, kind, state, reason, fixed FROM jobs "
                    "UNION ALL SELECT uid, tenant, create_nanos, end_nanos, kind, state, reason, "
                    "fixed FROM history");
  while (query.Next()) {
    visit({query.TextAt(0), query.TextAt(1), query.IntAt(2), query.IntAt(3),
           static_cast<int>(query.IntAt(4)), static_cast<int>(query.IntAt(5)),
           static_cast<int>(query.IntAt(6)), query.TextAt(7)});
  }
}

std::optional<JobRow> SqliteTables::FindResult(absl::string_view tenant, absl::string_view digest) {
  SqliteQuery query(database_,
                    "SELECT uid FROM history WHERE tenant = ? AND spec_digest = ? AND "
                    "reusable = 1 ORDER BY create_nanos DESC LIMIT 1");
  if (!query.Text(tenant).Text(digest).Next()) return std::nullopt;
  return FindJob(query.TextAt(0));
}

std::vector<std::string> SqliteTables::ExpiredJobs(int64_t now, int limit) {
  SqliteQuery query(database_,
                    "SELECT uid FROM history WHERE expire_nanos > 0 AND expire_nanos <= ? "
                    "ORDER BY expire_nanos LIMIT ?");
  query.Int(now).Int(limit);
  return Texts(query);
}

std::vector<std::string> SqliteTables::BulkyJobs(int64_t ended_before, int64_t points, int limit) {
  SqliteQuery query(database_,
                    "SELECT uid FROM history WHERE compacted_seq = 0 AND metric_points > ? AND "
                    "end_nanos < ? LIMIT ?");
  query.Int(points).Int(ended_before).Int(limit);
  return Texts(query);
}

}  // namespace adamant
