// SPDX-License-Identifier: Apache-2.0
// What a running adamantd does beside answering: its log, and the order of its data folder.
#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/client.h"
#include "server/jobs/job.h"
#include "server/store/await.h"
#include "server/store/sqlite_store.h"
#include "tests/support/blobs/write_call.h"
#include "tests/support/programs/program.h"
#include "tests/support/workers/fake_worker.h"

namespace adamant::testing {
namespace {

using ::testing::UnorderedElementsAre;
using Fields = std::map<std::string, std::string>;

const std::vector<std::string>& Arguments() {
  static const auto* arguments = new std::vector<std::string>{
      "--worker", absl::StrCat(ADAMANT_TEST_PROGRAMS, "/fake_worker"), "--warm-spares", "0"};
  return *arguments;
}

v1::JobSpec Training() {
  v1::JobSpec spec;
  v1::TrainSpec& train = *spec.mutable_train();
  train.set_seed(kSucceed);
  train.set_steps(10);
  train.mutable_model()->mutable_architecture()->set_name("mini_gap");
  train.mutable_train()->mutable_builtin()->set_name("shapes");
  return spec;
}

std::unique_ptr<Client> ClientOf(const ServerProcess& server, ClientOptions options = {}) {
  auto client = Client::Create(server.address(), std::move(options));
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

// The lines of one event in a log of JSON lines.
std::vector<Fields> LinesOf(const std::string& log, const std::string& event) {
  std::vector<Fields> lines;
  for (const absl::string_view line : absl::StrSplit(log, '\n', absl::SkipEmpty())) {
    google::protobuf::Struct parsed;
    if (!google::protobuf::util::JsonStringToMessage(std::string(line), &parsed).ok()) continue;
    Fields fields;
    for (const auto& [name, value] : parsed.fields()) {
      fields[name] = value.kind_case() == google::protobuf::Value::kNumberValue
                         ? absl::StrCat(value.number_value())
                         : value.string_value();
    }
    if (fields["event"] == event) lines.push_back(std::move(fields));
  }
  return lines;
}

TEST(Daemon, WritesOneLineWithEveryFieldForACall) {
  const TemporaryFolder folder;
  ServerProcess server(folder.path(), Arguments());
  ClientOptions options;
  options.trace_id = "0123456789abcdef0123456789abcdef";
  const auto client = ClientOf(server, options);
  v1::SubmitOptions submit;
  submit.set_request_id("01234567-89ab-4cde-8f01-23456789abcd");
  ASSERT_TRUE(client->Submit(Training(), submit).ok());
  EXPECT_TRUE(absl::IsNotFound(client->GetJob("jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa").status()));
  server.Signal(SIGTERM);
  ASSERT_TRUE(server.EndsWithin(absl::Minutes(1)));

  std::map<std::string, Fields> calls;
  for (Fields& line : LinesOf(server.log(), "rpc")) {
    std::vector<std::string> names;
    for (const auto& [name, value] : line) names.push_back(name);
    EXPECT_THAT(names, UnorderedElementsAre("ts", "level", "event", "message", "method", "peer",
                                            "tenant", "subject", "code", "reason", "seconds",
                                            "bytes_in", "bytes_out", "request_id", "trace_id"));
    calls[line["method"]] = std::move(line);
  }
  Fields& submitted = calls["/adamant.v1.RobustnessService/TrainJob"];
  EXPECT_EQ(submitted["level"], "info");
  EXPECT_EQ(submitted["code"], "OK");
  EXPECT_EQ(submitted["reason"], "");
  EXPECT_EQ(submitted["tenant"], "local");
  EXPECT_EQ(submitted["subject"], "local");
  EXPECT_EQ(submitted["request_id"], submit.request_id());
  EXPECT_EQ(submitted["trace_id"], options.trace_id);
  EXPECT_EQ(submitted["peer"].substr(0, 15), "ipv4:127.0.0.1:");
  EXPECT_GT(std::stoi(submitted["bytes_in"]), 36);
  EXPECT_GT(std::stoi(submitted["bytes_out"]), 36);
  Fields& missed = calls["/adamant.v1.RobustnessService/GetJob"];
  EXPECT_EQ(missed["code"], "NOT_FOUND");
  EXPECT_EQ(missed["reason"], "JOB_NOT_FOUND");
  EXPECT_EQ(missed["request_id"], "");
  EXPECT_EQ(LinesOf(server.log(), "rpc").size(), 2u);
}

// Writes jobs into the store of a data folder that no server uses.
class Past {
 public:
  explicit Past(const std::string& data_dir) {
    auto store = OpenSqliteStore({data_dir + "/store.db", nullptr});
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

  // A job that was cancelled `ago` and is kept for an hour, with a log.
  std::string AddEndedJob(const std::string& data_dir, absl::Duration ago) {
    const absl::Time end = absl::Now() - ago;
    v1::SubmitOptions options;
    options.mutable_retention()->set_seconds(3600);
    NewJob job = MakeJob(Training(), std::move(options), "local", "local", end);
    const auto stored = Await<SubmittedJob>(
        [&](Reply<SubmittedJob> reply) { store_->Submit(std::move(job), std::move(reply)); });
    EXPECT_TRUE(stored.ok()) << stored.status();
    const std::string name = stored->job.name();
    JobChange cancel{name.substr(5), "", std::nullopt, {}, [end](JobDraft& draft) {
                       return CancelJob(draft, end);
                     }};
    EXPECT_TRUE(Await<v1::Job>([&](Reply<v1::Job> reply) {
                  store_->ChangeJob(std::move(cancel), std::move(reply));
                }).ok());
    AddLog(data_dir, name.substr(5));
    return name;
  }

  static void AddLog(const std::string& data_dir, const std::string& uid) {
    std::filesystem::create_directories(LogOf(data_dir, uid));
    std::ofstream(LogOf(data_dir, uid) + "/1.head") << "text";
  }
  static std::string LogOf(const std::string& data_dir, const std::string& uid) {
    return absl::StrCat(data_dir, "/logs/", uid);
  }

 private:
  std::unique_ptr<JobStore> store_;
};

TEST(Daemon, TidiesUpWhatIsExpiredOrLeftOverWhenItStarts) {
  const TemporaryFolder folder;
  std::string expired;
  std::string kept;
  const std::string stray = "straystraystraystraystrayst";
  {
    Past past(folder.path());
    expired = past.AddEndedJob(folder.path(), absl::Hours(2));
    kept = past.AddEndedJob(folder.path(), absl::Minutes(10));
    Past::AddLog(folder.path(), stray);
  }
  const ServerProcess server(folder.path(), Arguments());
  const auto client = ClientOf(server);
  EXPECT_TRUE(Eventually([&] { return absl::IsNotFound(client->GetJob(expired).status()); }));
  EXPECT_TRUE(Eventually(
      [&] { return !std::filesystem::exists(Past::LogOf(folder.path(), expired.substr(5))); }));
  EXPECT_TRUE(
      Eventually([&] { return !std::filesystem::exists(Past::LogOf(folder.path(), stray)); }));
  EXPECT_TRUE(client->GetJob(kept).ok());
  EXPECT_TRUE(std::filesystem::exists(Past::LogOf(folder.path(), kept.substr(5))));
}

std::vector<std::string> FilesIn(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".db") files.push_back(entry.path().string());
  return files;
}

TEST(Daemon, WritesABackupThatServesItsJobs) {
  const TemporaryFolder folder;
  const std::string backups = folder.path() + "/backups";
  std::string name;
  {
    ServerProcess server(folder.path(), Arguments());
    const auto client = ClientOf(server);
    const auto job = client->Submit(Training(), {});
    ASSERT_TRUE(job.ok()) << job.status();
    name = job->name();
    ASSERT_TRUE(client->Wait(name, absl::Minutes(2)).ok());
    EXPECT_EQ(server.Terminate(), 0);
  }
  std::filesystem::create_directories(backups);
  const std::string old = backups + "/store-20200101T000000Z.db";
  std::ofstream(old).close();  // the next one is due
  {
    const ServerProcess server(folder.path(), Arguments());
    ASSERT_TRUE(Eventually([&] { return FilesIn(backups).size() == 2; }));
  }
  std::filesystem::remove(old);
  const TemporaryFolder restored;
  std::filesystem::copy_file(FilesIn(backups).at(0), restored.path() + "/store.db");
  const ServerProcess server(restored.path(), Arguments());
  const auto job = ClientOf(server)->GetJob(name);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->state(), v1::SUCCEEDED);
}

}  // namespace
}  // namespace adamant::testing
