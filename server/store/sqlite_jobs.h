// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/store/job_store.h"
#include "server/store/sqlite_database.h"

namespace adamant {

struct JobRow {
  std::string uid;
  std::string tenant;
  int64_t fence = 0;
  int64_t revision = 0;
  v1::Job job;
};

// The tables of jobs: rows in and out, no rules. Every call is part of a transaction of the writer
// thread; database errors stick in the database.
class SqliteJobs {
 public:
  explicit SqliteJobs(SqliteDatabase& database) : database_(database) {}

  std::optional<JobRow> Find(absl::string_view uid);
  // Stores a new job with its references and request id; returns its first event, numbered.
  std::vector<v1::JobEvent> Insert(NewJob& job);
  // Numbers and appends the events of the draft, then replaces the row as it was read.
  absl::Status Update(const JobRow& row, JobDraft& draft);
  JobPage List(const JobListQuery& query);
  std::vector<JobHead> LoadLive();
  int64_t Count();
  std::vector<v1::JobEvent> Events(absl::string_view uid, int64_t after, int limit);

 private:
  void AppendEvents(absl::string_view uid, v1::Job& job, std::vector<v1::JobEvent>& events);

  SqliteDatabase& database_;
};

}  // namespace adamant
