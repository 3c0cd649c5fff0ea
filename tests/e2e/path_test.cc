// SPDX-License-Identifier: Apache-2.0
// The whole path with the real programs: client -> server -> worker -> core -> report -> client.
#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cancel.h"
#include "client/client.h"
#include "tests/support/programs/program.h"
#include "tests/support/test_data.h"

namespace adamant::testing {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;
using ::testing::HasSubstr;

Value Json(const std::string& text) {
  Struct parsed;
  const auto status = google::protobuf::util::JsonStringToMessage(text, &parsed);
  EXPECT_TRUE(status.ok()) << text;
  Value value;
  *value.mutable_struct_value() = parsed;
  return value;
}

// The value at a path of member names; an empty Value when there is none.
Value At(Value value, const std::vector<std::string>& path) {
  for (const std::string& name : path) {
    const auto& fields = value.struct_value().fields();
    const auto found = fields.find(name);
    if (found == fields.end()) return {};
    value = Value(found->second);
  }
  return value;
}

// int64 members are texts in protobuf's JSON.
double Number(const Value& value) {
  return value.kind_case() == Value::kStringValue ? std::stod(value.string_value())
                                                  : value.number_value();
}

const std::vector<std::string> kData = {"--dataset", "shapes",  "--param",
                                        "train=512", "--param", "test=128"};

std::vector<std::string> Join(std::vector<std::string> all, const std::vector<std::string>& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<std::string> TrainArguments(const std::string& id) {
  return Join(Join({"-o", "json", "train", "--model", "mini_gap"}, kData),
              {"--objective",    "pgd_at", "--attack",      "pgd",  "--param",     "steps=3",
               "--norm",         "linf",   "--epsilon",     "0.06", "--epochs",    "4",
               "--batch-size",   "64",     "--lr",          "0.1",  "--val-split", "test",
               "--eval-samples", "64",     "--register-as", id,     "--wait"});
}

// The stored job, whatever `--wait` printed.
Value JobData(const ProgramResult& submitted) {
  EXPECT_EQ(submitted.exit_code, 0) << submitted.out << submitted.err;
  return At(Json(submitted.out), {"data"});
}

TEST(Path, TrainsAttacksAndExplains) {
  const TemporaryFolder folder;
  ServerProcess server(folder.path() + "/data");
  const Value trained = JobData(server.Cli(TrainArguments("robust")));
  EXPECT_EQ(At(trained, {"state"}).string_value(), "SUCCEEDED");
  EXPECT_EQ(Number(At(trained, {"result", "train", "steps"})), 32);

  const ProgramResult attack =
      server.Cli(Join(Join({"-o", "json", "attack", "--model", "robust"}, kData),
                      {"--norm", "linf", "--epsilon", "0.06", "--attack", "fgsm", "--attack", "pgd",
                       "--param", "steps=5", "--wait"}));
  const Value report = At(JobData(attack), {"result", "attack"});
  EXPECT_EQ(Number(At(report, {"num_samples"})), 128);
  EXPECT_NE(At(report, {"verdict"}).string_value(), "TRUSTED");  // neither targeted nor black-box
  EXPECT_LE(Number(At(report, {"robust_accuracy", "correct"})),
            Number(At(report, {"clean_accuracy", "correct"})));
  EXPECT_EQ(At(report, {"attacks"}).list_value().values_size(), 2);

  const ProgramResult explain = server.Cli(Join(
      Join({"-o", "json", "explain", "--model", "robust"}, kData),
      {"--samples", "4", "--explainer", "grad_cam", "--out", folder.path() + "/maps", "--wait"}));
  const Value maps = At(JobData(explain), {"result", "explain"});
  EXPECT_EQ(Number(At(maps, {"num_maps"})), 4);
  EXPECT_FALSE(std::filesystem::is_empty(folder.path() + "/maps"));
}

// Without what depends on the clock and on how full the calls of the network were.
Value Lasting(const Value& value) {
  Value out = value;
  if (value.has_list_value()) {
    for (Value& one : *out.mutable_list_value()->mutable_values()) one = Lasting(one);
  } else if (value.has_struct_value()) {
    auto& fields = *out.mutable_struct_value()->mutable_fields();
    for (const char* name : {"seconds", "final_check_seconds", "padded_rows"}) fields.erase(name);
    for (auto& [name, field] : fields) field = Lasting(field);
  }
  return out;
}

TEST(Path, ShardsMergeToTheReportOfOnePiece) {
  const TemporaryFolder folder;
  ServerProcess server(folder.path() + "/data");
  JobData(server.Cli(TrainArguments("robust")));
  const std::vector<std::string> attack =
      Join(Join({"-o", "json", "attack", "--model", "robust"}, kData),
           {"--samples", "50", "--epsilon", "0.06", "--attack", "fgsm", "--attack", "apgd_ce",
            "--param", "steps=5", "--wait"});
  const Value whole = At(JobData(server.Cli(attack)), {"result", "attack"});
  const Value merged =
      At(JobData(server.Cli(Join(attack, {"--shards", "3"}))), {"result", "attack"});
  EXPECT_EQ(Lasting(merged).DebugString(), Lasting(whole).DebugString());

  const ProgramResult listed = server.Cli({"-o", "name", "job", "list", "--kind", "attack"});
  std::vector<std::string> jobs = absl::StrSplit(listed.out, '\n', absl::SkipEmpty());
  ASSERT_EQ(jobs.size(), 5u);  // newest first: the merge, three shards, the whole
  const ProgramResult again = server.Cli(
      {"attack", "--merge", absl::StrCat(jobs[3], ",", jobs[1], ",", jobs[2]), "--wait"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(server.Cli({"attack", "--merge", absl::StrCat(jobs[1], ",", jobs[2]), "--wait"}).out,
              HasSubstr("name those of every shard"));
  const ProgramResult both =
      server.Cli({"attack", "--merge", absl::StrCat(jobs[1], ",", jobs[2]), "--epsilon", "0.1"});
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_THAT(both.err, HasSubstr("do not name them"));
  const ProgramResult wrong = server.Cli({"attack", "--merge", jobs[4]});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("is no shard"));
}

TEST(Path, FlagsOfTheThreatModelPassByAttacksWithoutOne) {
  const TemporaryFolder folder;
  ServerProcess server(folder.path() + "/data");
  JobData(server.Cli(TrainArguments("robust")));
  const Value report =
      At(JobData(server.Cli(Join(Join({"-o", "json", "attack", "--model", "robust"}, kData),
                                 {"--samples", "20", "--epsilon", "0.06", "--attack", "fgsm",
                                  "--attack", "brightness_contrast", "--wait"}))),
         {"result", "attack"});
  const Value blocks = At(report, {"attacks"});
  ASSERT_EQ(blocks.list_value().values_size(), 2);
  EXPECT_EQ(At(blocks.list_value().values(0), {"threat", "norm"}).string_value(), "LINF");
  EXPECT_EQ(At(blocks.list_value().values(1), {"threat", "norm"}).string_value(),
            "NORM_UNSPECIFIED");
}

TEST(Path, AFetchedCheckpointRegistersAgainAndGivesTheSameNumbers) {
  const TemporaryFolder folder;
  ServerProcess server(folder.path() + "/data");
  JobData(server.Cli(TrainArguments("first")));
  const std::string file = folder.path() + "/weights.safetensors";
  EXPECT_EQ(server.Cli({"blob", "get", "models/first", file}).exit_code, 0);
  const ProgramResult added = server.Cli({"model", "add", "second", file});
  EXPECT_EQ(added.exit_code, 0) << added.err;
  Value reports[2];
  for (int i = 0; i < 2; ++i) {
    const ProgramResult attack = server.Cli(
        Join(Join({"-o", "json", "attack", "--model", i == 0 ? "first" : "second"}, kData),
             {"--norm", "linf", "--epsilon", "0.06", "--attack", "fgsm", "--wait"}));
    reports[i] = At(JobData(attack), {"result", "attack"});
  }
  for (const char* field : {"clean_accuracy", "robust_accuracy"}) {
    EXPECT_EQ(Number(At(reports[0], {field, "correct"})),
              Number(At(reports[1], {field, "correct"})));
  }
}

// Ends a watch at the first event of the wanted type.
void WatchUntil(const ServerProcess& server, const std::string& job, v1::EventType type) {
  const auto client = Client::Create(server.address());
  ASSERT_TRUE(client.ok()) << client.status();
  CancelToken cancel;
  bool seen = false;
  const absl::Status ended = (*client)->Watch(
      job, 1,
      [&](const v1::JobEvent& event) {
        seen = seen || event.type() == type;
        if (seen) cancel.Cancel();
      },
      &cancel);
  EXPECT_TRUE(seen) << ended;
}

TEST(Path, AKilledServerGoesOnWithItsJobsAndTheResultIsTheSameToTheBit) {
  const TemporaryFolder folder;
  const std::vector<std::string> train = {"train",
                                          "--model",
                                          "mini_gap",
                                          "--dataset",
                                          "shapes",
                                          "--param",
                                          "train=3000",
                                          "--objective",
                                          "pgd_at",
                                          "--epsilon",
                                          "0.06",
                                          "--epochs",
                                          "4",
                                          "--lr",
                                          "0.1",
                                          "--set",
                                          "checkpoint.every_steps=10",
                                          "--eval-samples",
                                          "100"};
  std::string undisturbed;
  {
    ServerProcess server(folder.path() + "/quiet");
    const Value job = JobData(server.Cli(Join(Join({"-o", "json"}, train), {"--wait"})));
    undisturbed = At(job, {"result", "train", "weights_sha256"}).string_value();
    ASSERT_EQ(undisturbed.size(), 64u);
  }
  std::string job;
  {
    ServerProcess server(folder.path() + "/data");
    const ProgramResult submitted = server.Cli(Join({"-o", "name"}, train));
    ASSERT_EQ(submitted.exit_code, 0) << submitted.err;
    job = submitted.out.substr(0, submitted.out.find('\n'));
    WatchUntil(server, job, v1::CHECKPOINT);
    server.Kill();
  }
  ServerProcess server(folder.path() + "/data");
  const Value done = JobData(server.Cli({"-o", "json", "job", "wait", job}));
  EXPECT_EQ(At(done, {"state"}).string_value(), "SUCCEEDED");
  EXPECT_EQ(At(done, {"attempts"}).list_value().values_size(), 2);
  EXPECT_TRUE(At(done, {"result", "train", "resumed"}).bool_value());
  EXPECT_EQ(At(done, {"result", "train", "weights_sha256"}).string_value(), undisturbed);
}

// SIGKILL to every worker of the server.
void KillWorkers(const ServerProcess& server) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::error_code error;
    const std::string program = std::filesystem::read_symlink(entry.path() / "exe", error).string();
    if (error || !absl::EndsWith(program, "/adamant-worker")) continue;
    std::ifstream stat(entry.path() / "stat");
    int pid = 0;
    int parent = 0;
    std::string name, state;
    stat >> pid >> name >> state >> parent;
    if (parent == server.pid()) kill(pid, SIGKILL);
  }
}

// An attack job that is run undisturbed first, and then killed.
class KilledAttack : public ::testing::Test {
 protected:
  void Submit(const std::string& images) {
    JobData(server_->Cli(TrainArguments("robust")));
    const std::vector<std::string> attack = {
        "attack",   "--model",      "robust",   "--dataset",      "shapes",  "--param",
        images,     "--norm",       "linf",     "--epsilon",      "0.02",    "--attack",
        "pgd",      "--param",      "steps=40", "--attack",       "apgd_ce", "--param",
        "steps=20", "--batch-size", "64",       "--max-attempts", "16"};
    quiet_ = At(JobData(server_->Cli(Join(Join({"-o", "json"}, attack), {"--wait"}))),
                {"result", "attack"});
    const ProgramResult submitted = server_->Cli(Join({"-o", "name"}, attack));
    ASSERT_EQ(submitted.exit_code, 0) << submitted.err;
    job_ = submitted.out.substr(0, submitted.out.find('\n'));
  }

  void Kill(bool server_too) {
    if (!server_too) return KillWorkers(*server_);
    server_->Kill();
    server_ = std::make_unique<ServerProcess>(folder_.path() + "/data");
  }

  // Waits for the end of the job; its report is that of the undisturbed run.
  Value ExpectTheSameReport() {
    const Value done = JobData(server_->Cli({"-o", "json", "job", "wait", job_}));
    EXPECT_EQ(At(done, {"state"}).string_value(), "SUCCEEDED");
    const Value report = At(done, {"result", "attack"});
    EXPECT_EQ(Number(At(quiet_, {"work_repeated"})), 0);
    EXPECT_EQ(At(report, {"sample_table", "sha256"}).string_value(),
              At(quiet_, {"sample_table", "sha256"}).string_value());
    for (const char* count : {"forwards", "backwards", "padded_rows"}) {
      EXPECT_EQ(Number(At(report, {count})), Number(At(quiet_, {count}))) << count;
    }
    return done;
  }

  const TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_ =
      std::make_unique<ServerProcess>(folder_.path() + "/data");
  Value quiet_;
  std::string job_;
};

class KilledOnce : public KilledAttack, public ::testing::WithParamInterface<bool> {};

TEST_P(KilledOnce, GoesOnAndItsReportIsTheSameToTheBit) {
  ASSERT_NO_FATAL_FAILURE(Submit("test=2000"));
  WatchUntil(*server_, job_, v1::CHECKPOINT);
  Kill(/*server_too=*/GetParam());
  const Value done = ExpectTheSameReport();
  EXPECT_EQ(At(done, {"attempts"}).list_value().values_size(), 2);
  EXPECT_GE(Number(At(done, {"result", "attack", "work_repeated"})), 2000);
}

INSTANTIATE_TEST_SUITE_P(WorkerAndServer, KilledOnce, ::testing::Bool());

class SlowKilledAttack : public KilledAttack {};

// Three workers lost in a row would be the end of the job: every third kill is one of the server.
TEST_F(SlowKilledAttack, GoesOnAfterTenRandomMoments) {
  ASSERT_NO_FATAL_FAILURE(Submit("test=20000"));
  std::mt19937 random(1);
  int kills = 0;
  for (; kills < 10; ++kills) {
    std::this_thread::sleep_for(
        std::chrono::milliseconds(std::uniform_int_distribution<int>(200, 4000)(random)));
    const Value now = JobData(server_->Cli({"-o", "json", "job", "get", job_}));
    if (At(now, {"state"}).string_value() == "SUCCEEDED") break;
    Kill(/*server_too=*/kills % 3 == 2);
  }
  EXPECT_EQ(kills, 10) << "the job was too short";
  ExpectTheSameReport();
}

TEST(Path, TheReferenceCheckpointGivesItsReferenceNumbers) {
  REQUIRE_TEST_DATA();
  const TemporaryFolder folder;
  ServerProcess server(folder.path() + "/data");
  const std::string data = TestDataFolder();
  ProgramResult result = server.Cli({"dataset", "add", "mnist", "--reader", "mnist",
                                     data + "/mnist/t10k-images-idx3-ubyte.gz",
                                     data + "/mnist/t10k-labels-idx1-ubyte.gz"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  result = server.Cli({"model", "add", "mnist-lenet5-adv",
                       data + "/checkpoints/mnist_lenet5_adv.safetensors", "--architecture",
                       "mnist_cnn", "--param", "kind=advertorch"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  result = server.Cli({"model", "add", "mnist-script",
                       data + "/checkpoints/mnist_lenet5_adv.scripted.pt", "--classes", "10",
                       "--input", "1,28,28"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* model : {"mnist-lenet5-adv", "mnist-script"}) {
    const ProgramResult attack =
        server.Cli({"-o", "json", "attack", "--model", model, "--dataset", "mnist", "--samples",
                    "1000", "--norm", "linf", "--epsilon", "0.1", "--attack", "fgsm", "--param",
                    "numerics=reference", "--wait"});
    const Value report = At(JobData(attack), {"result", "attack"});
    EXPECT_EQ(Number(At(report, {"clean_accuracy", "correct"})), 982) << model;
    EXPECT_NEAR(Number(At(report, {"robust_accuracy", "correct"})), 971, 3) << model;
  }
}

}  // namespace
}  // namespace adamant::testing
