// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/rig.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "tests/fault/settings.h"

namespace adamant::testing {
namespace {

namespace fs = std::filesystem;

std::string FakeWorker() { return absl::StrCat(ADAMANT_BUILD_DIR, "/tests/fake_worker"); }

// Where this test keeps its evidence; the folder of the rig without --evidence.
std::string EvidenceFolder(const std::string& otherwise) {
  if (TheSettings().evidence.empty()) return otherwise;
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string name =
      absl::StrReplaceAll(absl::StrCat(test->test_suite_name(), ".", test->name()), {{"/", "_"}});
  std::string folder = absl::StrCat(fs::absolute(TheSettings().evidence).string(), "/", name);
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

// Field 4 of /proc/PID/stat; the name before it may hold spaces.
pid_t ParentOf(const std::string& process) {
  std::ifstream file(process + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  const std::vector<std::string> fields = absl::StrSplit(text.substr(name_end + 2), ' ');
  pid_t parent = 0;
  return fields.size() > 1 && absl::SimpleAtoi(fields[1], &parent) ? parent : 0;
}

bool IsLive(const v1::Job& job) {
  return job.state() != v1::SUCCEEDED && job.state() != v1::FAILED && job.state() != v1::CANCELLED;
}

}  // namespace

Rig::Rig(const std::string& data_dir)
    : evidence_(EvidenceFolder(temporary_.path())),
      data_dir_(data_dir.empty() ? temporary_.path() + "/data" : data_dir),
      history_(std::make_unique<History>(evidence_ + "/history.jsonl")) {}

Rig::~Rig() = default;

// The launcher empties the environment, so the failpoints of a worker are set by a script.
std::string Rig::WorkerScript(const std::string& failpoints) {
  if (failpoints.empty()) return FakeWorker();
  const std::string path = temporary_.path() + "/worker-with-failpoints";
  std::ofstream(path) << "#!/bin/sh\nADAMANT_FAILPOINTS='" << failpoints
                      << "' ADAMANT_FAILPOINT_LOG='" << evidence_ << "/failpoints.log' exec "
                      << FakeWorker() << " \"$@\"\n";
  chmod(path.c_str(), 0700);
  return path;
}

void Rig::Start(const RigOptions& options) {
  server_.reset();
  ServerSetup setup;
  setup.may_end = options.may_end;
  setup.arguments = {"--worker",
                     WorkerScript(options.worker_failpoints),
                     "--max-calls-per-second",
                     "0",
                     "--max-submits-per-second",
                     "0"};
  if (!address_.empty()) {
    setup.arguments.insert(setup.arguments.end(),
                           {"--listen", address_, "--metrics-address", metrics_address_});
  }
  setup.arguments.insert(setup.arguments.end(), options.arguments.begin(), options.arguments.end());
  setup.environment = {absl::StrCat("ADAMANT_FAILPOINTS=", options.failpoints),
                       absl::StrCat("ADAMANT_FAILPOINT_LOG=", evidence_, "/failpoints.log")};
  server_ = std::make_unique<ServerProcess>(data_dir_, setup);
  if (!server_->ready()) return;
  if (address_.empty()) {
    address_ = server_->address();
    metrics_address_ = server_->metrics_address();
  }
  api_ = std::make_unique<Api>(address_);  // its connection to the server before is broken
}

void Rig::Kill() {
  if (server_ != nullptr) server_->Kill();
}

void Rig::Restart() {
  Kill();
  Start();
}

std::vector<pid_t> Rig::Workers() const {
  std::vector<pid_t> workers;
  if (server_ == nullptr) return workers;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    if (ParentOf(entry.path().string()) != server_->pid()) continue;
    std::error_code error;
    if (absl::EndsWith(fs::read_symlink(entry.path() / "exe", error).string(), "fake_worker"))
      workers.push_back(pid);
  }
  return workers;
}

std::map<std::string, int> Rig::Fired() const {
  std::map<std::string, int> fired;
  std::ifstream log(evidence_ + "/failpoints.log");
  for (std::string line; std::getline(log, line);) ++fired[line];
  return fired;
}

bool Rig::HasFired(const std::string& failpoint) const {
  const auto fired = Fired();
  return std::any_of(fired.begin(), fired.end(), [&](const auto& entry) {
    return absl::StartsWith(entry.first, failpoint + " ");
  });
}

void Rig::ComeToRest(absl::Duration limit) {
  const absl::Time deadline = absl::Now() + limit;
  int live = -1;
  while (live != 0 && absl::Now() < deadline) {
    const auto jobs = api_->List();
    live = jobs.ok() ? 0 : -1;
    if (jobs.ok()) {
      for (const v1::Job& job : *jobs) {
        if (job.state() == v1::PAUSED) api_->Ask(Verb::kResume, job.name()).IgnoreError();
        live += IsLive(job) ? 1 : 0;
      }
    }
    if (live != 0) absl::SleepFor(absl::Milliseconds(50));
  }
  EXPECT_EQ(live, 0) << "jobs that do not come to an end";
}

absl::Status Rig::ReadJob(const std::string& name, JobTruth& truth) {
  ASSIGN_OR_RETURN(truth.job, api_->Get(name));
  ASSIGN_OR_RETURN(truth.log, api_->ReadLog(name, 0));
  if (IsLive(truth.job)) return absl::OkStatus();
  return api_->Watch(name, 1, [&](const v1::JobEvent& event) {
    if (event.seq() > 0 && !event.has_snapshot() && event.type() != v1::BOOKMARK)
      truth.events.push_back(event);
    return true;
  });
}

Truth Rig::ReadTruth() {
  Truth truth;
  const auto listed = api_->List();
  EXPECT_TRUE(listed.ok()) << listed.status();
  if (listed.ok()) {
    for (const v1::Job& job : *listed) truth.listed.insert(job.name());
  }
  std::set<std::string> names = truth.listed;
  for (const Entry& entry : history_->entries()) {
    if (entry.op == "submit") names.insert(entry.job);
    if (entry.op != "upload") continue;
    v1::BlobRef blob;
    blob.set_sha256(entry.digest);
    blob.set_size_bytes(entry.size);
    const auto bytes = api_->Read(blob);
    EXPECT_TRUE(bytes.ok()) << entry.digest << ": " << bytes.status();
    if (bytes.ok()) truth.blobs[entry.digest] = Sha256Hex(*bytes);
  }
  for (const std::string& name : names) {
    JobTruth job;
    const absl::Status read = ReadJob(name, job);
    if (absl::IsNotFound(read)) continue;
    EXPECT_TRUE(read.ok()) << name << ": " << read;
    truth.jobs[name] = std::move(job);
  }
  return truth;
}

void Rig::CheckOracle(const OracleOptions& options) {
  ComeToRest();
  const Truth truth = ReadTruth();
  if (server_->EndsWithin(absl::ZeroDuration())) {
    const std::string log = server_->log();
    ADD_FAILURE() << "the server ended with " << server_->Wait() << ": "
                  << log.substr(log.size() - std::min<size_t>(log.size(), 2000));
  }
  const std::vector<std::string> violations = Violations(history_->entries(), truth, options);
  for (const std::string& violation : violations) ADD_FAILURE() << violation;
  ::testing::Test::RecordProperty("acknowledged", static_cast<int>(history_->entries().size()));
}

}  // namespace adamant::testing
