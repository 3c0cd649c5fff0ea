// SPDX-License-Identifier: Apache-2.0
#include "server/store/sqlite_jobs.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/store/sqlite_session.h"

namespace adamant {
namespace {

constexpr int64_t kMaxEventBytes = 1 << 20;  // of one ReadEvents
constexpr int kMaxScannedJobs = 5000;        // by one ListJobs

#define ADAMANT_JOB_COLUMNS "uid, tenant, fence, revision, job, spec, result"

JobRow RowAt(const SqliteQuery& query) {
  JobRow row{query.TextAt(0), query.TextAt(1), query.IntAt(2), query.IntAt(3),
             ParseStored<v1::Job>(query.BlobAt(4))};
  *row.job.mutable_spec() = ParseStored<v1::JobSpec>(query.BlobAt(5));
  if (!query.BlobAt(6).empty())
    *row.job.mutable_result() = ParseStored<v1::JobReport>(query.BlobAt(6));
  return row;
}

// The part of a job that changes.
std::string MutablePart(v1::Job job) {
  job.clear_spec();
  job.clear_result();
  return SerializeStably(job);
}

bool IsLive(const v1::Job& job) {
  return job.state() != v1::SUCCEEDED && job.state() != v1::FAILED && job.state() != v1::CANCELLED;
}

int64_t FenceOf(const v1::Job& job) {
  return job.attempts().empty() ? 0 : job.attempts().rbegin()->fence();
}

int64_t CreateNanos(const v1::Job& job) {
  return job.create_time().seconds() * 1'000'000'000 + job.create_time().nanos();
}

}  // namespace

std::optional<JobRow> SqliteJobs::Find(absl::string_view uid) {
  SqliteQuery query(database_, "SELECT " ADAMANT_JOB_COLUMNS " FROM jobs WHERE uid = ?");
  if (!query.Text(uid).Next()) return std::nullopt;
  return RowAt(query);
}

// Gives `events` their seq and stores them.
void SqliteJobs::AppendEvents(absl::string_view uid, v1::Job& job,
                              std::vector<v1::JobEvent>& events) {
  for (v1::JobEvent& event : events) {
    event.set_seq(job.last_event_seq() + 1);
    job.set_last_event_seq(event.seq());
    const std::string bytes = SerializeStably(event);
    SqliteQuery(database_, "INSERT INTO events(uid, seq, event) VALUES(?, ?, ?)")
        .Text(uid)
        .Int(event.seq())
        .Blob(bytes)
        .Execute();
  }
}

std::vector<v1::JobEvent> SqliteJobs::Insert(NewJob& job) {
  const std::string uid = job.job.name().substr(job.job.name().find('/') + 1);
  job.job.set_etag("1");
  job.job.set_last_event_seq(1);
  job.event.set_seq(1);
  const std::string bytes = MutablePart(job.job);
  const std::string spec = SerializeStably(job.job.spec());
  SqliteQuery(database_,
              "INSERT INTO jobs(uid, tenant, kind, state, live, fence, revision, seq, "
              "create_nanos, job, spec) VALUES(?, ?, ?, ?, 1, 0, 1, 1, ?, ?, ?)")
      .Text(uid)
      .Text(job.job.tenant())
      .Int(job.job.kind())
      .Int(job.job.state())
      .Int(CreateNanos(job.job))
      .Blob(bytes)
      .Blob(spec)
      .Execute();
  job.job.set_last_event_seq(0);
  std::vector<v1::JobEvent> events{job.event};
  AppendEvents(uid, job.job, events);
  for (const std::string& name : job.references) {
    SqliteQuery(database_, "INSERT INTO job_references(uid, name) VALUES(?, ?)")
        .Text(uid)
        .Text(name)
        .Execute();
  }
  if (!job.request_id.empty()) {
    SqliteQuery(database_,
                "INSERT INTO requests(tenant, request_id, content_digest, uid) VALUES(?, ?, ?, ?)")
        .Text(job.job.tenant())
        .Text(job.request_id)
        .Text(job.content_digest)
        .Text(uid)
        .Execute();
  }
  return events;
}

absl::Status SqliteJobs::Update(const JobRow& row, JobDraft& draft) {
  AppendEvents(row.uid, draft.job, draft.events);
  draft.job.set_etag(absl::StrCat(row.revision + 1));
  const std::string bytes = MutablePart(draft.job);
  const std::string result =
      draft.job.has_result() ? SerializeStably(draft.job.result()) : std::string();
  const int64_t written =
      SqliteQuery(database_,
                  "UPDATE jobs SET state = ?, live = ?, fence = ?, revision = ?, seq = ?, job = ?, "
                  "result = ? WHERE uid = ? AND fence = ? AND state = ?")
          .Int(draft.job.state())
          .Int(IsLive(draft.job) ? 1 : 0)
          .Int(FenceOf(draft.job))
          .Int(row.revision + 1)
          .Int(draft.job.last_event_seq())
          .Blob(bytes)
          .Blob(result)
          .Text(row.uid)
          .Int(row.fence)
          .Int(row.job.state())
          .Execute();
  if (written != 1 && database_.status().ok())
    return absl::InternalError("a job changed under the writer");
  return absl::OkStatus();
}

JobPage SqliteJobs::List(const JobListQuery& list) {
  SqliteQuery query(database_, "SELECT " ADAMANT_JOB_COLUMNS
                               " FROM jobs WHERE tenant = ? AND create_nanos <= ? AND NOT "
                               "(create_nanos = ? AND uid <= ?) "
                               "ORDER BY create_nanos DESC, uid LIMIT ?");
  const int64_t from =
      list.after_create_nanos > 0 ? list.after_create_nanos : std::numeric_limits<int64_t>::max();
  query.Text(list.tenant).Int(from).Int(from).Text(list.after_uid).Int(kMaxScannedJobs);
  JobPage page;
  int64_t bytes = 0;
  int scanned = 0;
  while (query.Next()) {
    JobRow row = RowAt(query);
    page.next_create_nanos = CreateNanos(row.job);
    page.next_uid = row.uid;
    ++scanned;
    if (list.matches && !list.matches(row.job)) continue;
    bytes += static_cast<int64_t>(row.job.ByteSizeLong());
    page.jobs.push_back(std::move(row.job));
    if (static_cast<int>(page.jobs.size()) >= list.page_size || bytes >= list.max_bytes)
      return page;
  }
  if (scanned < kMaxScannedJobs) {
    page.next_create_nanos = 0;
    page.next_uid.clear();
  }
  return page;
}

std::vector<JobHead> SqliteJobs::LoadLive() {
  SqliteQuery query(database_, "SELECT " ADAMANT_JOB_COLUMNS " FROM jobs WHERE live = 1");
  std::vector<JobHead> heads;
  while (query.Next()) {
    JobRow row = RowAt(query);
    JobHead& head = heads.emplace_back(JobHead{row.uid, std::move(row.job), {}});
    SqliteQuery names(database_, "SELECT name FROM job_references WHERE uid = ?");
    names.Text(head.uid);
    while (names.Next()) head.references.push_back(names.TextAt(0));
  }
  return heads;
}

int64_t SqliteJobs::Count() {
  SqliteQuery query(database_, "SELECT count(*) FROM jobs");
  return query.Next() ? query.IntAt(0) : 0;
}

std::vector<v1::JobEvent> SqliteJobs::Events(absl::string_view uid, int64_t after, int limit) {
  SqliteQuery query(database_,
                    "SELECT event FROM events WHERE uid = ? AND seq > ? ORDER BY seq LIMIT ?");
  query.Text(uid).Int(after).Int(limit);
  std::vector<v1::JobEvent> events;
  for (size_t bytes = 0; bytes < kMaxEventBytes && query.Next();) {
    bytes += query.BlobAt(0).size();
    events.push_back(ParseStored<v1::JobEvent>(query.BlobAt(0)));
  }
  return events;
}

}  // namespace adamant
