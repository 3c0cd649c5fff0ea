// SPDX-License-Identifier: Apache-2.0
#include "server/store/sqlite_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/status_macros.h"
#include "server/store/sqlite_jobs.h"
#include "server/store/sqlite_resources.h"
#include "server/store/sqlite_session.h"

namespace adamant {
namespace {

constexpr int64_t kSchemaVersion = 1;
// Columns of a WITHOUT ROWID table stand in the order of its key: quick_check of SQLite 3.40
// otherwise reports NULL values that are not there. jobs.spec never changes and jobs.result is
// written once, so that a transition does not rewrite them.
constexpr char kSchema[] = R"(
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs(
  uid TEXT PRIMARY KEY, tenant TEXT NOT NULL, kind INTEGER NOT NULL, state INTEGER NOT NULL,
  live INTEGER NOT NULL, fence INTEGER NOT NULL, revision INTEGER NOT NULL, seq INTEGER NOT NULL,
  create_nanos INTEGER NOT NULL, job BLOB NOT NULL, spec BLOB NOT NULL, result BLOB);
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs(tenant, create_nanos DESC, uid);
CREATE INDEX IF NOT EXISTS jobs_live ON jobs(uid) WHERE live = 1;
CREATE TABLE IF NOT EXISTS requests(
  tenant TEXT NOT NULL, request_id TEXT NOT NULL, content_digest TEXT NOT NULL,
  uid TEXT NOT NULL REFERENCES jobs(uid), PRIMARY KEY(tenant, request_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS job_references(
  name TEXT NOT NULL, uid TEXT NOT NULL REFERENCES jobs(uid),
  PRIMARY KEY(name, uid)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS references_by_job ON job_references(uid);
CREATE TABLE IF NOT EXISTS events(
  uid TEXT NOT NULL REFERENCES jobs(uid), seq INTEGER NOT NULL, event BLOB NOT NULL,
  PRIMARY KEY(uid, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resources(
  tenant TEXT NOT NULL, name TEXT NOT NULL, resource BLOB NOT NULL,
  PRIMARY KEY(tenant, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs(
  tenant TEXT NOT NULL, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL,
  PRIMARY KEY(tenant, sha256)) WITHOUT ROWID;
)";

absl::Status JobNotFound(absl::string_view uid) {
  return NotFoundStatus("job", "JOB_NOT_FOUND", absl::StrCat("jobs/", uid));
}

absl::Status CheckGuards(const JobChange& change, const JobRow& row) {
  const bool in_state = change.states.empty() ||
                        std::count(change.states.begin(), change.states.end(), row.job.state()) > 0;
  if (change.fence.has_value() && (*change.fence != row.fence || !in_state)) {
    return WithReason(absl::AbortedError("this attempt no longer owns the job"), "FENCED");
  }
  if (in_state) return absl::OkStatus();
  const std::string state = v1::JobState_Name(row.job.state());
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat("not possible while the job is ", state)),
      "WRONG_STATE", {{"state", state}});
}

class SqliteStore final : public JobStore {
 public:
  explicit SqliteStore(std::function<void(absl::Status)> on_fatal)
      : on_fatal_(std::move(on_fatal)) {}
  ~SqliteStore() override { session_.queue.reset(); }  // its commands use the tables

  absl::Status Open(const std::string& path);

  void AddObserver(StoreObserver* observer) override { session_.observers.push_back(observer); }

  void Submit(NewJob job, Reply<SubmittedJob> reply) override;
  void GetJob(std::string tenant, std::string uid, Reply<v1::Job> reply) override;
  void ListJobs(JobListQuery query, Reply<JobPage> reply) override;
  void ChangeJob(JobChange change, Reply<v1::Job> reply) override;
  void LoadLiveJobs(Reply<std::vector<JobHead>> reply) override;
  void CountJobs(Reply<int64_t> reply) override;
  void ReadEvents(EventQuery query, Reply<EventPage> reply) override;
  void FindResult(std::string, std::string, Reply<v1::Job> reply) override { Later(reply); }
  void DeleteJob(std::string, std::string, std::string, absl::Time, Reply<Done> reply) override {
    Later(reply);
  }
  void DeleteExpired(absl::Time, int, Reply<std::vector<std::string>> reply) override {
    Later(reply);
  }
  void CompactMetrics(absl::Time, int, Reply<int64_t> reply) override { Later(reply); }
  void RenewLease(std::string, int64_t, absl::Duration, Reply<v1::JobState> reply) override {
    Later(reply);
  }
  void CountBlobBytes(std::string, Reply<int64_t> reply) override { Later(reply); }
  void FindGarbage(GarbageQuery, Reply<std::vector<v1::BlobRef>> reply) override { Later(reply); }
  void DropBlobs(std::vector<v1::BlobRef>, GarbageQuery,
                 Reply<std::vector<v1::BlobRef>> reply) override {
    Later(reply);
  }
  void Backup(std::string, Reply<Done> reply) override { Later(reply); }

  ResourceTable<v1::Model>& models() override { return models_; }
  ResourceTable<v1::Dataset>& datasets() override { return datasets_; }

  void PutBlobs(std::string tenant, std::vector<v1::BlobRef> blobs, absl::Time now,
                Reply<Done> reply) override;
  void FindMissingBlobs(std::string tenant, std::vector<v1::BlobRef> blobs, absl::Time now,
                        Reply<std::vector<v1::BlobRef>> reply) override;

 private:
  template <typename T>
  static void Later(const Reply<T>& reply) {
    reply(absl::UnimplementedError("not yet"));
  }
  struct Changed {
    std::string tenant;
    v1::Job job;
    std::vector<v1::JobEvent> events;
    std::vector<v1::Model> models;
  };

  absl::Status CheckVersion();
  absl::StatusOr<Changed> SubmitNow(NewJob& job);
  absl::StatusOr<v1::Job> FindRequest(const NewJob& job);
  absl::Status CheckReferences(const NewJob& job);
  absl::StatusOr<Changed> ChangeNow(const JobChange& change);
  void AddModels(const JobRow& row, JobDraft& draft);
  void Tell(const Changed& changed);

  const std::function<void(absl::Status)> on_fatal_;
  SqliteSession session_;
  SqliteJobs jobs_{session_.database};
  SqliteResources<v1::Model> models_{session_, "model", "MODEL_NOT_FOUND"};
  SqliteResources<v1::Dataset> datasets_{session_, "dataset", "DATASET_NOT_FOUND"};
};

absl::Status SqliteStore::CheckVersion() {
  SqliteDatabase& database = session_.database;
  {
    SqliteQuery check(database, "PRAGMA quick_check(1)");
    if (check.Next() && check.TextAt(0) != "ok")
      return absl::DataLossError(
          absl::StrCat("the store is damaged: ", check.TextAt(0), "; restore it from a backup"));
  }
  RETURN_IF_ERROR(database.Execute(kSchema));
  SqliteQuery(database, "INSERT OR IGNORE INTO meta(key, value) VALUES('schema_version', ?)")
      .Int(kSchemaVersion)
      .Execute();
  SqliteQuery version(database, "SELECT value FROM meta WHERE key = 'schema_version'");
  if (version.Next() && version.IntAt(0) > kSchemaVersion)
    return absl::FailedPreconditionError(absl::StrCat("the store has schema version ",
                                                      version.IntAt(0), ", this server knows ",
                                                      kSchemaVersion, "; use a newer adamantd"));
  return database.status();
}

absl::Status SqliteStore::Open(const std::string& path) {
  SqliteDatabase& database = session_.database;
  RETURN_IF_ERROR(database.Open(path));
  RETURN_IF_ERROR(database.Execute("BEGIN IMMEDIATE"));
  RETURN_IF_ERROR(CheckVersion());
  RETURN_IF_ERROR(
      database.Execute("INSERT INTO meta(key, value) VALUES('epoch', 1) "
                       "ON CONFLICT(key) DO UPDATE SET value = value + 1; COMMIT"));
  session_.queue = std::make_unique<CommitQueue>(
      TransactionHooks{[this] { return session_.database.Execute("BEGIN IMMEDIATE"); },
                       [this] { return session_.database.Execute("COMMIT"); }, on_fatal_});
  return absl::OkStatus();
}

void SqliteStore::Tell(const Changed& changed) {
  for (StoreObserver* observer : session_.observers) {
    for (const v1::Model& model : changed.models) observer->OnModel(changed.tenant, model);
    observer->OnJob(changed.job, changed.events);
  }
}

// The job of an earlier request with the same id; NOT_FOUND when this is the first.
absl::StatusOr<v1::Job> SqliteStore::FindRequest(const NewJob& job) {
  SqliteQuery query(session_.database,
                    "SELECT content_digest, uid FROM requests WHERE tenant = ? AND request_id = ?");
  if (!query.Text(job.job.tenant()).Text(job.request_id).Next()) return absl::NotFoundError("");
  const std::string uid = query.TextAt(1);
  if (query.TextAt(0) != job.content_digest) {
    return WithReason(
        absl::AlreadyExistsError(absl::StrCat("request_id ", job.request_id, " was used for jobs/",
                                              uid, " with other content; use a new one")),
        "REQUEST_ID_CONFLICT", {{"job", absl::StrCat("jobs/", uid)}});
  }
  std::optional<JobRow> row = jobs_.Find(uid);
  if (!row.has_value()) return JobNotFound(uid);
  return row->job;
}

absl::Status SqliteStore::CheckReferences(const NewJob& job) {
  const std::string& tenant = job.job.tenant();
  for (const std::string& name : job.references) {
    const bool is_model = absl::StartsWith(name, "models/");
    if (is_model && !models_.Find(tenant, name).has_value()) return models_.NotFound(name);
    if (!is_model && !datasets_.Find(tenant, name).has_value()) return datasets_.NotFound(name);
  }
  return absl::OkStatus();
}

// No events in the result: the job was there already.
absl::StatusOr<SqliteStore::Changed> SqliteStore::SubmitNow(NewJob& job) {
  if (!job.request_id.empty()) {
    absl::StatusOr<v1::Job> earlier = FindRequest(job);
    if (earlier.ok()) return Changed{earlier->tenant(), *std::move(earlier), {}, {}};
    if (!absl::IsNotFound(earlier.status())) return earlier.status();
  }
  RETURN_IF_ERROR(CheckReferences(job));
  std::vector<v1::JobEvent> events = jobs_.Insert(job);
  return Changed{job.job.tenant(), job.job, std::move(events), {}};
}

void SqliteStore::Submit(NewJob job, Reply<SubmittedJob> reply) {
  auto shared = std::make_shared<NewJob>(std::move(job));
  session_.Run<Changed>(
      true, [this, shared] { return SubmitNow(*shared); },
      [reply = std::move(reply)](absl::StatusOr<Changed> changed) {
        if (!changed.ok()) return reply(changed.status());
        reply(SubmittedJob{std::move(changed->job), changed->events.empty()});
      },
      [this](const Changed& changed) {
        if (!changed.events.empty()) Tell(changed);
      });
}

void SqliteStore::GetJob(std::string tenant, std::string uid, Reply<v1::Job> reply) {
  auto work = [this, tenant = std::move(tenant), uid]() -> absl::StatusOr<v1::Job> {
    std::optional<JobRow> row = jobs_.Find(uid);
    if (!row.has_value() || row->tenant != tenant) return JobNotFound(uid);
    return std::move(row->job);
  };
  session_.Run<v1::Job>(false, std::move(work), std::move(reply));
}

void SqliteStore::AddModels(const JobRow& row, JobDraft& draft) {
  std::vector<v1::Model> added;
  for (v1::Model& model : draft.models) {
    if (!models_.Find(row.tenant, model.name()).has_value()) {
      models_.Write(row.tenant, model);
      added.push_back(std::move(model));
      continue;
    }
    v1::JobEvent event = draft.events.empty() ? v1::JobEvent() : draft.events.front();
    event.set_type(v1::WARNING);
    event.set_terminal(false);
    event.mutable_warning()->set_code("MODEL_ID_TAKEN");
    event.mutable_warning()->set_text(absl::StrCat(
        model.name(), " exists already and was left alone; the weights of this job are blobs/",
        model.blob().sha256(), "/", model.blob().size_bytes()));
    draft.events.insert(draft.events.begin(), std::move(event));
  }
  draft.models = std::move(added);
}

absl::StatusOr<SqliteStore::Changed> SqliteStore::ChangeNow(const JobChange& change) {
  const std::optional<JobRow> row = jobs_.Find(change.uid);
  if (!row.has_value() || (!change.tenant.empty() && change.tenant != row->tenant))
    return JobNotFound(change.uid);
  RETURN_IF_ERROR(CheckGuards(change, *row));
  JobDraft draft{row->job, {}, {}};
  RETURN_IF_ERROR(change.apply(draft));
  AddModels(*row, draft);
  if (draft.events.empty() && SerializeStably(draft.job) == SerializeStably(row->job))
    return Changed{row->tenant, std::move(draft.job), {}, {}};
  RETURN_IF_ERROR(jobs_.Update(*row, draft));
  return Changed{row->tenant, std::move(draft.job), std::move(draft.events),
                 std::move(draft.models)};
}

void SqliteStore::ChangeJob(JobChange change, Reply<v1::Job> reply) {
  session_.Run<Changed>(
      true, [this, change = std::move(change)] { return ChangeNow(change); },
      [reply = std::move(reply)](absl::StatusOr<Changed> changed) {
        if (!changed.ok()) return reply(changed.status());
        reply(std::move(changed->job));
      },
      [this](const Changed& changed) { Tell(changed); });
}

void SqliteStore::ListJobs(JobListQuery query, Reply<JobPage> reply) {
  auto work = [this, query = std::move(query)]() -> absl::StatusOr<JobPage> {
    return jobs_.List(query);
  };
  session_.Run<JobPage>(false, std::move(work), std::move(reply));
}

void SqliteStore::LoadLiveJobs(Reply<std::vector<JobHead>> reply) {
  auto work = [this]() -> absl::StatusOr<std::vector<JobHead>> { return jobs_.LoadLive(); };
  session_.Run<std::vector<JobHead>>(false, std::move(work), std::move(reply));
}

void SqliteStore::CountJobs(Reply<int64_t> reply) {
  auto work = [this]() -> absl::StatusOr<int64_t> { return jobs_.Count(); };
  session_.Run<int64_t>(false, std::move(work), std::move(reply));
}

void SqliteStore::ReadEvents(EventQuery query, Reply<EventPage> reply) {
  auto work = [this, query = std::move(query)]() -> absl::StatusOr<EventPage> {
    return EventPage{jobs_.Events(query.uid, query.after, query.limit), 0};
  };
  session_.Run<EventPage>(false, std::move(work), std::move(reply));
}

void SqliteStore::PutBlobs(std::string tenant, std::vector<v1::BlobRef> blobs, absl::Time /*now*/,
                           Reply<Done> reply) {
  auto work = [this, tenant = std::move(tenant),
               blobs = std::move(blobs)]() -> absl::StatusOr<Done> {
    for (const v1::BlobRef& blob : blobs) {
      SqliteQuery(session_.database,
                  "INSERT OR REPLACE INTO blobs(tenant, sha256, size_bytes) VALUES(?, ?, ?)")
          .Text(tenant)
          .Text(blob.sha256())
          .Int(blob.size_bytes())
          .Execute();
    }
    return Done{};
  };
  session_.Run<Done>(true, std::move(work), std::move(reply));
}

void SqliteStore::FindMissingBlobs(std::string tenant, std::vector<v1::BlobRef> blobs,
                                   absl::Time /*now*/, Reply<std::vector<v1::BlobRef>> reply) {
  auto work = [this, tenant = std::move(tenant),
               blobs = std::move(blobs)]() -> absl::StatusOr<std::vector<v1::BlobRef>> {
    std::vector<v1::BlobRef> missing;
    for (const v1::BlobRef& blob : blobs) {
      SqliteQuery query(session_.database,
                        "SELECT 1 FROM blobs WHERE tenant = ? AND sha256 = ? AND size_bytes = ?");
      if (!query.Text(tenant).Text(blob.sha256()).Int(blob.size_bytes()).Next())
        missing.push_back(blob);
    }
    return missing;
  };
  session_.Run<std::vector<v1::BlobRef>>(false, std::move(work), std::move(reply));
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteStore(SqliteStoreOptions options) {
  auto store = std::make_unique<SqliteStore>(std::move(options.on_fatal));
  RETURN_IF_ERROR(store->Open(options.path));
  return store;
}

}  // namespace adamant
