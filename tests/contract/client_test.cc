// SPDX-License-Identifier: Apache-2.0
// What the client library promises when something between it and a result breaks.
#include "client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/cancel.h"
#include "tests/support/fake_server.h"
#include "tests/support/programs/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/workers/fake_worker.h"

namespace adamant {
namespace {

using testing::FakeServer;
using testing::FakeTask;
using testing::ServerProcess;
using testing::TemporaryFolder;

// A real server with the fake worker on a socket that outlives it.
class CutOff : public ::testing::Test {
 protected:
  void SetUp() override { Start(); }

  void Start() {
    server_ = std::make_unique<ServerProcess>(
        folder_.path() + "/data",
        std::vector<std::string>{"--worker", absl::StrCat(ADAMANT_TEST_PROGRAMS, "/fake_worker"),
                                 "--listen", Address(), "--drain-delay", "0"});
  }

  std::string Address() const { return absl::StrCat("unix:", folder_.path(), "/socket"); }

  std::unique_ptr<Client> MakeClient(absl::Duration reconnect_limit) const {
    ClientOptions options;
    options.reconnect_limit = reconnect_limit;
    options.first_backoff = absl::Milliseconds(50);
    return *Client::Create(Address(), options);
  }

  std::string Submit(FakeTask task, int32_t max_attempts = 3) const {
    v1::JobSpec spec;
    spec.mutable_train()->set_seed(task);
    spec.mutable_train()->set_steps(10);
    spec.mutable_train()->mutable_model()->mutable_architecture()->set_name("mini_gap");
    spec.mutable_train()->mutable_train()->mutable_builtin()->set_name("shapes");
    v1::SubmitOptions options;
    options.mutable_retry_policy()->set_max_attempts(max_attempts);
    const auto job = MakeClient(absl::Seconds(60))->Submit(spec, options);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? job->name() : "";
  }

  TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

// A watch in a thread of its own, with the durable events it saw.
class Watcher {
 public:
  Watcher(Client& client, const std::string& job)
      : thread_([this, &client, job] {
          status_ = client.Watch(job, 1, [this](const v1::JobEvent& event) { OnEvent(event); });
        }) {}

  void AwaitRunning() { running_.WaitForNotification(); }
  absl::Status Join() {
    thread_.join();
    return status_;
  }
  const std::vector<int64_t>& seqs() const { return seqs_; }
  v1::JobState last_state() const { return last_state_; }

 private:
  void OnEvent(const v1::JobEvent& event) {
    if (event.has_snapshot() || event.type() == v1::BOOKMARK || event.seq() == 0) return;
    seqs_.push_back(event.seq());
    if (!event.has_state()) return;
    last_state_ = event.state().to();
    if (last_state_ == v1::RUNNING && !running_.HasBeenNotified()) running_.Notify();
  }

  absl::Status status_;
  std::vector<int64_t> seqs_;
  v1::JobState last_state_ = v1::JOB_STATE_UNSPECIFIED;
  absl::Notification running_;
  std::thread thread_;
};

class T13 : public CutOff {};
class T14 : public CutOff {};

TEST_F(T13, AWatchWhoseConnectionIsCutResumesWithoutGapOrDuplicate) {
  const std::string job = Submit(testing::kWaitForStop);
  const auto client = MakeClient(absl::Seconds(120));
  Watcher watcher(*client, job);
  watcher.AwaitRunning();
  server_->Kill();
  Start();
  ASSERT_TRUE(MakeClient(absl::Seconds(60))->CancelJob(job).ok());
  const absl::Status status = watcher.Join();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(watcher.last_state(), v1::CANCELLED);
  for (size_t i = 0; i < watcher.seqs().size(); ++i) {
    EXPECT_EQ(watcher.seqs()[i], static_cast<int64_t>(i) + 1);
  }
}

TEST_F(T13, AConnectionThatStaysCutIsAnErrorInEveryWayOfFollowing) {
  const std::string job = Submit(testing::kWaitForStop);
  const auto client = MakeClient(absl::Seconds(1));
  Watcher watcher(*client, job);
  watcher.AwaitRunning();
  server_->Kill();
  EXPECT_FALSE(watcher.Join().ok());
  EXPECT_FALSE(client->Wait(job, absl::Seconds(60)).ok());
  v1::ReadLogRequest log;
  log.set_name(job);
  log.set_follow(true);
  EXPECT_FALSE(client->ReadLog(log, [](int64_t, absl::string_view) {}).ok());
}

TEST_F(T14, FollowingAJobWhoseWorkerWasKilledDoesNotEndWithSuccess) {
  const std::string job = Submit(testing::kCrash, 1);
  for (const char* command : {"watch", "wait"}) {
    EXPECT_EQ(server_->Cli({"job", command, job}).exit_code, 1) << command;
  }
  const auto logs = server_->Cli({"job", "logs", job, "--follow"});
  EXPECT_EQ(logs.exit_code, 1);
  EXPECT_THAT(logs.err, ::testing::HasSubstr("FAILED"));
}

TEST(T21, TheClientSplitsDigestsAndMetricPointsByItself) {
  TemporaryFolder folder;
  const ServerProcess server(folder.path() + "/data",
                             {"--worker", absl::StrCat(ADAMANT_TEST_PROGRAMS, "/fake_worker")});
  std::vector<v1::BlobRef> blobs(20001);
  for (size_t i = 0; i < blobs.size(); ++i) {
    blobs[i] = testing::FakeBlobs::RefOf(absl::StrCat("blob ", i));
  }
  const auto client = *Client::Create(server.address());
  const auto missing = client->FindMissingBlobs(blobs);
  ASSERT_TRUE(missing.ok()) << missing.status();
  ASSERT_EQ(missing->size(), blobs.size());
  EXPECT_EQ(missing->back().sha256(), blobs.back().sha256());

  FakeServer pages;
  pages.jobs.points.resize(100000);
  for (int i = 0; i < 100000; ++i) pages.jobs.points[i].set_step(i);
  v1::ListMetricPointsRequest request;
  request.set_job("jobs/a");
  const auto points = pages.MakeClient()->ListMetricPoints(request);
  ASSERT_TRUE(points.ok()) << points.status();
  ASSERT_EQ(points->size(), 100000u);
  for (int i = 0; i < 100000; ++i) ASSERT_EQ((*points)[i].step(), i);
  EXPECT_EQ(pages.jobs.metric_pages.size(), 100u);
}

}  // namespace
}  // namespace adamant
