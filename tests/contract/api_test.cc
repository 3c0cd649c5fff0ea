// SPDX-License-Identifier: Apache-2.0
// Draining, deadlines, logs and silent watches.
#include <gmock/gmock.h>

#include <chrono>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "tests/support/api/api_rig.h"
#include "tests/support/api/health.h"
#include "tests/support/programs/program.h"
#include "tests/support/slowdown.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using namespace testing;  // NOLINT: the fake tasks
using Stub = v1::RobustnessService::Stub;

constexpr std::chrono::seconds kPatience(120);

std::string FakeWorker() { return absl::StrCat(ADAMANT_TEST_PROGRAMS, "/fake_worker"); }

// A client of a real adamantd.
class Client {
 public:
  explicit Client(const std::string& address)
      : channel_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())),
        jobs(v1::RobustnessService::NewStub(channel_)),
        system(v1::SystemService::NewStub(channel_)) {}

  v1::Job Submit(FakeTask task) {
    v1::Job job;
    grpc::ClientContext context;
    const grpc::Status status = jobs->TrainJob(&context, ApiRig::Training(task), &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }

  grpc::Status Get(const std::string& name, v1::Job& job) {
    v1::GetJobRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    return jobs->GetJob(&context, request, &job);
  }

  // Watches from the start until the job is in `state`.
  void AwaitState(const std::string& name, v1::JobState state) {
    v1::WatchJobRequest request;
    request.set_name(name);
    request.set_from_seq(1);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const auto reader = jobs->WatchJob(&context, request);
    v1::JobEvent event;
    while (reader->Read(&event)) {
      if (event.has_state() && event.state().to() == state) break;
    }
    EXPECT_EQ(event.state().to(), state);
    context.TryCancel();
    reader->Finish();
  }

  std::string Health() { return HealthOf(channel_); }

 private:
  std::shared_ptr<grpc::Channel> channel_;

 public:
  std::unique_ptr<v1::RobustnessService::Stub> jobs;
  std::unique_ptr<v1::SystemService::Stub> system;
};

TEST(T01, ADrainAnswersCallsInFlightAndNoneWithUnknown) {
  TemporaryFolder folder;
  ServerProcess server(folder.path(), {"--worker", FakeWorker(), "--drain-delay", "3",
                                       "--max-calls-per-second", "0"});
  Client client(server.address());
  EXPECT_EQ(client.Health(), "SERVING");
  const std::string name = client.Submit(kWaitForStop).name();
  client.AwaitState(name, v1::RUNNING);
  grpc::Status in_flight;
  v1::Job waited;
  std::thread waiter([&] {
    v1::WaitJobRequest request;
    request.set_name(name);
    request.mutable_timeout()->set_seconds(2);
    grpc::ClientContext context;
    in_flight = client.jobs->WaitJob(&context, request, &waited);
  });
  int exit_code = -1;
  std::thread drain([&] { exit_code = server.Terminate(); });
  std::string health = "SERVING";
  v1::Job job;
  while (health == "SERVING") health = client.Health();
  EXPECT_EQ(health, "NOT_SERVING");
  EXPECT_TRUE(client.Get(name, job).ok());
  grpc::ClientContext context;
  EXPECT_EQ(Reason(client.jobs->TrainJob(&context, ApiRig::Training(kSucceed), &job)), "DRAINING");
  // Until the end every call is answered, then none is, and that is UNAVAILABLE.
  const auto library = adamant::Client::Create(server.address());
  ASSERT_TRUE(library.ok()) << library.status();
  absl::Status status;
  while (status.ok()) status = (*library)->GetJob(name).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  waiter.join();
  drain.join();
  EXPECT_TRUE(in_flight.ok()) << in_flight.error_message();
  EXPECT_EQ(waited.name(), name);
  EXPECT_EQ(exit_code, 0);
}

TEST(T02, ADrainSaysGoodbyeToOpenStreamsBeforeItEnds) {
  TemporaryFolder folder;
  ServerProcess server(folder.path(), {"--worker", FakeWorker(), "--drain-delay", "0"});
  Client client(server.address());
  const std::string name = client.Submit(kWaitForStop).name();
  client.AwaitState(name, v1::RUNNING);
  v1::WatchJobRequest request;
  request.set_name(name);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const auto reader = client.jobs->WatchJob(&context, request);
  v1::JobEvent event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.type(), v1::SNAPSHOT);
  int exit_code = -1;
  std::thread drain([&] { exit_code = server.Terminate(); });
  std::vector<v1::JobState> states;
  int64_t last_seq = 0;
  while (reader->Read(&event)) {
    if (event.has_state()) states.push_back(event.state().to());
    if (event.type() != v1::GOING_AWAY) last_seq = std::max(last_seq, event.seq());
  }
  const grpc::Status end = reader->Finish();
  drain.join();
  EXPECT_EQ(event.type(), v1::GOING_AWAY);
  EXPECT_EQ(event.seq(), last_seq);
  EXPECT_EQ(Reason(end), "DRAINING");
  ASSERT_FALSE(states.empty());
  EXPECT_EQ(states.back(), v1::QUEUED);  // it goes on after the next start
  EXPECT_EQ(exit_code, 0);
}

TEST(T03, AJobGoesOnWhenTheDeadlineOfItsWaitOrWatchPasses) {
  ApiRig rig;
  const std::string name = rig.Submit(kWaitForStop).name();
  rig.jobs.AwaitState(name, v1::RUNNING);
  {
    v1::WaitJobRequest request;
    request.set_name(name);
    v1::Job job;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
    EXPECT_EQ(rig.robustness->WaitJob(&context, request, &job).error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  {
    v1::WatchJobRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
    const auto reader = rig.robustness->WatchJob(&context, request);
    v1::JobEvent event;
    while (reader->Read(&event)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  EXPECT_EQ(rig.jobs.Get(name).state(), v1::RUNNING);
  v1::Job job;
  EXPECT_TRUE(rig.Call(&Stub::CancelJob, name, job).ok());
  EXPECT_EQ(rig.jobs.AwaitEnd(name).state(), v1::CANCELLED);
}

TEST(T10, TheServersMemoryIsFlatOver200ShortJobs) {
  if (Slowdown() > 1) GTEST_SKIP() << "a sanitizer keeps freed memory for a while";
  TemporaryFolder folder;
  ServerProcess server(folder.path(), {"--worker", FakeWorker()});
  Client client(server.address());
  const auto run = [&](int count) {
    for (int done = 0; done < count; done += 10) {
      std::string last;
      for (int i = 0; i < 10; ++i) last = client.Submit(kSucceed).name();
      client.AwaitState(last, v1::SUCCEEDED);
    }
    v1::ServerStatus status;
    grpc::ClientContext context;
    EXPECT_TRUE(client.system->GetServerStatus(&context, {}, &status).ok());
    return status.rss_bytes();
  };
  const int64_t before = run(50);
  const int64_t after = run(200);
  EXPECT_GT(before, 0);
  EXPECT_LT(after - before, 8 << 20) << "from " << before << " to " << after;
}

std::string ReadLog(ApiRig& rig, const std::string& name, bool follow, grpc::Status& end) {
  v1::ReadLogRequest request;
  request.set_name(name);
  request.set_follow(follow);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const auto reader = rig.robustness->ReadLog(&context, request);
  std::string text;
  v1::ReadLogResponse chunk;
  while (reader->Read(&chunk)) text += chunk.data();
  end = reader->Finish();
  return text;
}

TEST(T17, ReadLogWithoutFollowReturnsWhileTheJobIsQueued) {
  ApiRig rig;
  const std::string running = rig.Submit(kWaitForStop).name();
  rig.jobs.AwaitState(running, v1::RUNNING);
  const std::string queued = rig.Submit(kSucceed).name();
  grpc::Status end;
  EXPECT_EQ(ReadLog(rig, queued, /*follow=*/false, end), "");
  EXPECT_TRUE(end.ok()) << end.error_message();
  EXPECT_EQ(rig.jobs.Get(queued).state(), v1::QUEUED);
  v1::Job job;
  EXPECT_TRUE(rig.Call(&Stub::CancelJob, running, job).ok());
  rig.jobs.AwaitEnd(queued);
}

TEST(T18, LogsOfFailedCancelledAndNeverStartedJobsAreReadable) {
  ApiRig rig;
  grpc::Status end;
  const std::string failed = rig.Submit(kUserError).name();
  EXPECT_EQ(rig.jobs.AwaitEnd(failed).state(), v1::FAILED);
  const std::string running = rig.Submit(kWaitForStop).name();
  rig.jobs.AwaitState(running, v1::RUNNING);
  const std::string never = rig.Submit(kSucceed).name();
  v1::Job job;
  EXPECT_TRUE(rig.Call(&Stub::CancelJob, never, job).ok());
  EXPECT_TRUE(rig.Call(&Stub::CancelJob, running, job).ok());
  EXPECT_EQ(rig.jobs.AwaitEnd(running).state(), v1::CANCELLED);
  EXPECT_EQ(rig.jobs.AwaitEnd(never).attempt(), 0);
  for (const bool follow : {false, true}) {
    for (const std::string& name : {failed, running, never}) {
      const std::string text = ReadLog(rig, name, follow, end);
      EXPECT_TRUE(end.ok()) << end.error_message();
      EXPECT_EQ(static_cast<int64_t>(text.size()), rig.jobs.Get(name).log_bytes());
    }
  }
  const std::string succeeded = rig.Submit(kSucceed).name();
  rig.jobs.AwaitEnd(succeeded);
  EXPECT_THAT(ReadLog(rig, succeeded, false, end), HasSubstr("a line on stdout\n"));
}

// All intervals of service.md 8, a hundred times shorter; no bookmark keeps the connection busy.
TEST(T29, ASilentWatchIsNotEndedForItsPings) {
  ApiRigOptions options;
  options.listen = {"127.0.0.1:0"};
  options.limits.keepalive_time = absl::Milliseconds(300);
  options.limits.min_ping_interval = absl::Milliseconds(200);
  options.limits.bookmark_after = absl::Hours(1);
  ApiRig rig(options);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 300);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  const auto stub = v1::RobustnessService::NewStub(grpc::CreateCustomChannel(
      rig.api->addresses().front(), grpc::InsecureChannelCredentials(), arguments));
  const std::string name = rig.Submit(kWaitForStop).name();
  rig.jobs.AwaitState(name, v1::RUNNING);
  v1::WatchJobRequest request;
  request.set_name(name);
  request.add_types(v1::STATE);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const auto reader = stub->WatchJob(&context, request);
  v1::JobEvent event;
  ASSERT_TRUE(reader->Read(&event));
  absl::SleepFor(absl::Seconds(5));  // the silence itself: sixteen pings
  v1::Job job;
  EXPECT_TRUE(rig.Call(&Stub::CancelJob, name, job).ok());
  while (reader->Read(&event)) {
  }
  EXPECT_TRUE(event.terminal());
  const grpc::Status end = reader->Finish();
  EXPECT_TRUE(end.ok()) << end.error_message();
}

}  // namespace
}  // namespace adamant
