// SPDX-License-Identifier: Apache-2.0
// What only the SQLite store has to do: durability, migration, damage, a full disk, backup.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/serialize.h"
#include "server/store/sqlite_store.h"
#include "tests/server/job_store_conformance.h"
#include "tests/support/temporary_folder.h"

namespace adamant {
namespace {

using testing::BlobOf;
using ::testing::ElementsAre;
using testing::JobWithWeights;
using testing::SomeJob;
using testing::StoreClient;
using testing::TemporaryFolder;

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() { Open(); }

  absl::Status TryOpen(SqliteStoreOptions options = {}) {
    store_.reset();
    options.path = path_;
    auto opened = OpenSqliteStore(std::move(options));
    if (!opened.ok()) return opened.status();
    store_ = *std::move(opened);
    client_.emplace(*store_);
    return absl::OkStatus();
  }
  void Open(SqliteStoreOptions options = {}) {
    const absl::Status status = TryOpen(std::move(options));
    ASSERT_TRUE(status.ok()) << status;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.path() + "/store.db";
  std::unique_ptr<JobStore> store_;
  std::optional<StoreClient> client_;
};

// Runs SQL on a file that no store has open.
void RunSql(const std::string& path, const std::string& sql) {
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &handle), SQLITE_OK);
  char* error = nullptr;
  EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
  sqlite3_free(error);
  sqlite3_close(handle);
}

TEST_F(StoreTest, EverythingIsThereAfterReopening) {
  ASSERT_TRUE(client_->PutBlobs({BlobOf('a'), BlobOf('b')}, absl::FromUnixSeconds(1000)).ok());
  v1::Model model;
  model.set_name("models/m");
  ASSERT_TRUE(client_->PutModel(model).ok());
  NewJob asked = JobWithWeights(BlobOf('a'));
  asked.references = {"models/m"};
  asked.request_id = "r1";
  const std::string live = client_->Add(asked);
  const std::string ended = client_->Add(SomeJob(2, "r2"));
  ASSERT_TRUE(client_->Claim(ended).ok());
  ASSERT_TRUE(client_->Succeed(ended).ok());
  const std::string deleted = client_->Add(SomeJob(3, "r3"));
  ASSERT_TRUE(client_->Cancel(deleted).ok());
  ASSERT_TRUE(client_->Delete(deleted).ok());
  const std::string before = client_->Get(live)->SerializeAsString();
  Open();
  EXPECT_EQ(client_->Get(live)->SerializeAsString(), before);
  EXPECT_EQ(client_->Get(ended)->state(), v1::SUCCEEDED);
  EXPECT_TRUE(client_->Get(ended)->has_result());
  EXPECT_EQ(client_->Events(ended).size(), 3u);
  EXPECT_EQ(client_->Live().size(), 1u);
  EXPECT_THAT(client_->Live().at(0).references, ElementsAre("models/m"));
  EXPECT_EQ(client_->Count(), 2);
  EXPECT_EQ(ReasonOf(client_->Submit(SomeJob(3, "r3")).status()), "REQUEST_ID_JOB_DELETED");
  EXPECT_EQ(client_->Submit(SomeJob(2, "r2"))->job.name(), ended);
  EXPECT_EQ(client_->Garbage({"", absl::Now()}), "b") << "the job still pins its weights";
  EXPECT_EQ(ReasonOf(client_->DeleteModel("models/m")), "RESOURCE_IN_USE");
  JobListQuery query{"local", 50};
  query.matches = [](const v1::Job& job) {
    return job.state() == v1::SUCCEEDED && job.options().request_id() == "r2" && job.has_end_time();
  };
  EXPECT_THAT(client_->ListAll(query), ElementsAre(ended));
}

TEST_F(StoreTest, AStartVoidsAllLeases) {
  const std::string name = client_->Add();
  ASSERT_TRUE(client_->Claim(name).ok());
  ASSERT_TRUE(client_->Renew(name, 1).ok());
  Open();
  EXPECT_EQ(ReasonOf(client_->Renew(name, 1).status()), "FENCED");
}

TEST_F(StoreTest, RefusesASecondOpener) {
  const auto second = OpenSqliteStore({path_, nullptr});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition) << second.status();
}

TEST_F(StoreTest, RefusesAFileOfANewerVersion) {
  store_.reset();
  RunSql(path_, "UPDATE meta SET value = 3 WHERE key = 'schema_version'");
  const absl::Status status = TryOpen();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("version 3"));
}

TEST_F(StoreTest, FindsADamagedFileAtStart) {
  for (int i = 0; i < 50; ++i) client_->Add();
  store_.reset();
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  const int fd = open(path_.c_str(), O_WRONLY);
  ASSERT_GE(fd, 0);
  const std::string garbage(4096, '\xa5');
  for (off_t page = 2; page * 4096 < info.st_size; ++page)
    ASSERT_EQ(pwrite(fd, garbage.data(), garbage.size(), page * 4096), 4096);
  close(fd);
  EXPECT_EQ(TryOpen().code(), absl::StatusCode::kDataLoss);
}

// The statements of version 1, as it wrote them.
constexpr char kVersion1[] = R"(
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE jobs(
  uid TEXT PRIMARY KEY, tenant TEXT NOT NULL, kind INTEGER NOT NULL, state INTEGER NOT NULL,
  live INTEGER NOT NULL, fence INTEGER NOT NULL, revision INTEGER NOT NULL, seq INTEGER NOT NULL,
  create_nanos INTEGER NOT NULL, job BLOB NOT NULL, spec BLOB NOT NULL, result BLOB);
CREATE INDEX jobs_by_time ON jobs(tenant, create_nanos DESC, uid);
CREATE INDEX jobs_live ON jobs(uid) WHERE live = 1;
CREATE TABLE requests(
  tenant TEXT NOT NULL, request_id TEXT NOT NULL, content_digest TEXT NOT NULL,
  uid TEXT NOT NULL REFERENCES jobs(uid), PRIMARY KEY(tenant, request_id)) WITHOUT ROWID;
CREATE TABLE job_references(
  name TEXT NOT NULL, uid TEXT NOT NULL REFERENCES jobs(uid),
  PRIMARY KEY(name, uid)) WITHOUT ROWID;
CREATE INDEX references_by_job ON job_references(uid);
CREATE TABLE events(
  uid TEXT NOT NULL REFERENCES jobs(uid), seq INTEGER NOT NULL, event BLOB NOT NULL,
  PRIMARY KEY(uid, seq)) WITHOUT ROWID;
CREATE TABLE resources(
  tenant TEXT NOT NULL, name TEXT NOT NULL, resource BLOB NOT NULL,
  PRIMARY KEY(tenant, name)) WITHOUT ROWID;
CREATE TABLE blobs(
  tenant TEXT NOT NULL, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL,
  PRIMARY KEY(tenant, sha256)) WITHOUT ROWID;
INSERT INTO meta(key, value) VALUES('schema_version', 1), ('epoch', 4);
)";

std::string Hex(const google::protobuf::Message& message) {
  std::string hex = "x'";
  for (const unsigned char byte : SerializeStably(message))
    absl::StrAppend(&hex, absl::Hex(byte, absl::kZeroPad2));
  return hex + "'";
}

// Statements that store `job` with its first event as version 1 did.
std::string Version1Rows(const NewJob& asked) {
  v1::Job job = asked.job;
  job.set_etag("1");
  job.set_last_event_seq(1);
  v1::Job changing = job;
  changing.clear_spec();
  changing.clear_result();
  v1::JobEvent event = asked.event;
  event.set_seq(1);
  const std::string uid = job.name().substr(5);
  const std::string result = job.has_result() ? Hex(job.result()) : "x''";
  std::string sql = absl::StrCat(
      "INSERT INTO jobs VALUES('", uid, "', '", job.tenant(), "', ", job.kind(), ", ", job.state(),
      ", ", job.has_end_time() ? 0 : 1, ", 0, 1, 1, ", NanosOf(job.create_time()), ", ",
      Hex(changing), ", ", Hex(job.spec()), ", ", result, ");", "INSERT INTO requests VALUES('",
      job.tenant(), "', '", asked.request_id, "', '", asked.content_digest, "', '", uid, "');",
      "INSERT INTO events VALUES('", uid, "', 1, ", Hex(event), ");");
  for (const std::string& name : asked.references)
    absl::StrAppend(&sql, "INSERT INTO job_references VALUES('", name, "', '", uid, "');");
  return sql;
}

TEST_F(StoreTest, BringsAFileOfVersion1UpToDate) {
  store_.reset();
  unlink(path_.c_str());
  v1::Model model;
  model.set_name("models/m");
  *model.mutable_blob() = BlobOf('b');
  NewJob live = JobWithWeights(BlobOf('a'));
  live.request_id = "r1";
  live.references = {"models/m"};
  NewJob ended = SomeJob(5, "r2");
  ended.job.set_state(v1::SUCCEEDED);
  ended.job.set_reproducible(true);
  ended.job.mutable_result()->mutable_train();
  *ended.job.mutable_end_time() = ToProto(absl::FromUnixSeconds(5000));
  *ended.job.mutable_expire_time() = ToProto(absl::FromUnixSeconds(6000));
  std::string sql = absl::StrCat("PRAGMA journal_mode=WAL;", kVersion1, Version1Rows(live),
                                 Version1Rows(ended), "INSERT INTO resources VALUES('local', '",
                                 model.name(), "', ", Hex(model), ");");
  for (const char digit : {'a', 'b', 'c'})
    absl::StrAppend(&sql, "INSERT INTO blobs VALUES('local', '", std::string(64, digit), "', 3);");
  RunSql(path_, sql);
  for (int opened = 0; opened < 2; ++opened) {
    Open();
    ASSERT_NE(store_, nullptr);
    EXPECT_EQ(client_->Get(live.job.name())->spec().SerializeAsString(),
              live.job.spec().SerializeAsString());
    EXPECT_TRUE(client_->Get(ended.job.name())->has_result());
    EXPECT_EQ(client_->Events(live.job.name(), 0, 10, {v1::STATE}).size(), 1u);
    EXPECT_EQ(client_->Live().size(), 1u);
    EXPECT_THAT(client_->Live().at(0).references, ElementsAre("models/m"));
    EXPECT_TRUE(client_->Submit(live)->deduplicated);
    EXPECT_EQ(client_->ListAll({"local", 1}).size(), 2u);
    EXPECT_EQ(client_->FindResult(ended.job.spec_digest())->name(), ended.job.name());
    EXPECT_EQ(client_->Garbage({"", absl::Now() + absl::Hours(1)}), "c");
  }
  EXPECT_EQ(client_->DeleteExpired(absl::Now())->size(), 1u);
  ASSERT_TRUE(client_->Claim(live.job.name()).ok());
  EXPECT_EQ(client_->Get(live.job.name())->etag(), "2");
}

TEST_F(StoreTest, AFullDiskIsARefusalNotTheEnd) {
  int fatal = 0;
  SqliteStoreOptions options;
  options.max_pages = 200;
  options.on_fatal = [&](absl::Status) { ++fatal; };
  Open(std::move(options));
  std::vector<std::string> names;
  absl::Status refused;
  for (int i = 0; i < 1000 && refused.ok(); ++i) {
    NewJob job = SomeJob(i, absl::StrCat("r", i));
    job.job.set_state_message(std::string(5000, 'x'));
    const auto submitted = client_->Submit(job);
    refused = submitted.status();
    if (submitted.ok()) names.push_back(submitted->job.name());
  }
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused), "STORAGE_FULL");
  ASSERT_GT(names.size(), 10u);
  EXPECT_EQ(client_->Count(), static_cast<int64_t>(names.size()));
  EXPECT_EQ(client_->ListAll({"local", 50}).size(), names.size());
  // Room comes back, and the store goes on without a restart.
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(client_->Cancel(names.back()).ok());
    ASSERT_TRUE(client_->Delete(names.back()).ok());
    names.pop_back();
  }
  names.push_back(client_->Add());
  EXPECT_EQ(fatal, 0);
  Open();
  EXPECT_EQ(client_->Count(), static_cast<int64_t>(names.size()));
  for (const std::string& name : names) EXPECT_TRUE(client_->Get(name).ok());
}

TEST_F(StoreTest, BacksUpWhileInUse) {
  for (int i = 0; i < 30; ++i) {
    NewJob job = SomeJob();
    job.job.set_state_message(std::string(100'000, 'x'));
    client_->Add(job);
  }
  const std::string copy = folder_.path() + "/copy.db";
  std::atomic<bool> done{false};
  std::atomic<int> added{0};
  std::thread writer([&] {
    while (!done) {
      client_->Add();
      ++added;
    }
  });
  const auto backup = Await<Done>([&](auto reply) { store_->Backup(copy, reply); });
  done = true;
  writer.join();
  ASSERT_TRUE(backup.ok()) << backup.status();
  EXPECT_EQ(client_->Count(), 30 + added);
  const auto opened = OpenSqliteStore({copy, nullptr});
  ASSERT_TRUE(opened.ok()) << opened.status();
  StoreClient restored(**opened);
  EXPECT_GE(restored.Count(), 30);
  EXPECT_EQ(restored.Live().size(), static_cast<size_t>(restored.Count()));
  const auto again = Await<Done>([&](auto reply) { store_->Backup(copy, reply); });
  EXPECT_EQ(again.status().code(), absl::StatusCode::kAlreadyExists) << again.status();
  EXPECT_TRUE(client_->Submit(SomeJob()).ok()) << "a failed backup does not hurt the store";
}

TEST_F(StoreTest, ABackupUnderWayIsGivenUpWhenTheStoreCloses) {
  for (int i = 0; i < 30; ++i) {
    NewJob job = SomeJob();
    job.job.set_state_message(std::string(100'000, 'x'));
    client_->Add(job);
  }
  const std::string copy = folder_.path() + "/copy.db";
  absl::Status status = absl::UnknownError("no reply");
  store_->Backup(copy, [&](const absl::StatusOr<Done>& done) { status = done.status(); });
  store_.reset();
  EXPECT_NE(status.code(), absl::StatusCode::kUnknown) << "the reply came before the end";
  EXPECT_EQ(access(copy.c_str(), F_OK) == 0, status.ok()) << "half a copy was left";
}

TEST_F(StoreTest, TellsOfABackupThatFailed) {
  absl::Mutex mutex;
  std::vector<std::string> failed;
  SqliteStoreOptions options;
  options.on_error = [&](absl::string_view op) {
    absl::MutexLock lock(&mutex);
    failed.emplace_back(op);
  };
  Open(std::move(options));
  EXPECT_TRUE(Await<Done>([&](auto reply) { store_->Backup(folder_.path() + "/b", reply); }).ok());
  EXPECT_FALSE(Await<Done>([&](auto reply) { store_->Backup(folder_.path() + "/b", reply); }).ok());
  store_.reset();
  EXPECT_THAT(failed, ElementsAre("backup"));
}

TEST_F(StoreTest, TellsHowLongWhichTransactionTook) {
  absl::Mutex mutex;
  std::vector<std::string> ops;
  SqliteStoreOptions options;
  options.on_transaction = [&](absl::string_view op, absl::Duration taken) {
    absl::MutexLock lock(&mutex);
    EXPECT_GE(taken, absl::ZeroDuration());
    ops.emplace_back(op);
  };
  Open(std::move(options));
  const std::string name = client_->Add();
  ASSERT_TRUE(client_->Claim(name).ok());
  ASSERT_TRUE(client_
                  ->Edit(name,
                         [](JobDraft& draft) {
                           AddEvent(draft, v1::WARNING, absl::Now());
                           return absl::OkStatus();
                         })
                  .ok());
  ASSERT_TRUE(client_->Succeed(name).ok());
  client_->Events(name);
  ASSERT_TRUE(client_->Delete(name).ok());
  store_.reset();
  EXPECT_THAT(ops, ElementsAre("submit", "claim", "events", "transition", "read", "other"));
}

}  // namespace
}  // namespace adamant
