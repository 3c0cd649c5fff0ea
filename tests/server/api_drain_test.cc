// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <thread>

#include "tests/support/api/health.h"
#include "tests/support/api/job_calls.h"
#include "tests/support/blobs/write_call.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using namespace testing;  // NOLINT: the fake tasks

// With a connection as clients have it.
class ApiDrainTest : public JobCalls {
 protected:
  ApiDrainTest() : JobCalls({.listen = {"127.0.0.1:0"}}) {}

  grpc::Status Get(const std::string& name) {
    v1::GetJobRequest request;
    request.set_name(name);
    v1::Job job;
    grpc::ClientContext context;
    return jobs_->GetJob(&context, request, &job);
  }

  std::shared_ptr<grpc::Channel> channel_ =
      grpc::CreateChannel(rig_.api->addresses().front(), grpc::InsecureChannelCredentials());
  std::unique_ptr<v1::RobustnessService::Stub> jobs_ = v1::RobustnessService::NewStub(channel_);
  std::unique_ptr<v1::BlobService::Stub> blobs_ = v1::BlobService::NewStub(channel_);
};

TEST_F(ApiDrainTest, SaysGoodbyeToWatchersWhenTheServerDrains) {
  const v1::Job job = rig_.Submit(kWaitForStop);
  rig_.jobs.AwaitState(job.name(), v1::RUNNING);
  v1::WatchJobRequest request;
  request.set_name(job.name());
  grpc::ClientContext context;
  const auto reader = rig_.robustness->WatchJob(&context, request);
  v1::JobEvent event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.type(), v1::SNAPSHOT);
  rig_.api->GoAway();
  v1::EventType last = v1::EVENT_TYPE_UNSPECIFIED;
  while (reader->Read(&event)) last = event.type();
  EXPECT_EQ(last, v1::GOING_AWAY);
  EXPECT_EQ(Reason(reader->Finish()), "DRAINING");
}

TEST_F(ApiDrainTest, RefusesSubmitsWhileDrainingButAnswersReads) {
  const v1::Job before = Wait(rig_.Submit(kSucceed).name());
  rig_.jobs.scheduler().StopAdmission();
  v1::Job job;
  grpc::ClientContext context;
  const grpc::Status status = rig_.robustness->TrainJob(&context, ApiRig::Training(kSucceed), &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Reason(status), "DRAINING");
  v1::GetJobRequest get;
  get.set_name(before.name());
  grpc::ClientContext get_context;
  EXPECT_TRUE(rig_.robustness->GetJob(&get_context, get, &job).ok());
}

TEST_F(ApiDrainTest, DrainsAndUndrains) {
  v1::ServerStatus status;
  grpc::ClientContext contexts[4];
  v1::DrainServerRequest drain;
  EXPECT_EQ(Reason(rig_.system->DrainServer(&contexts[0], drain, &status)), "INVALID_SPEC");
  drain.set_mode(v1::DrainServerRequest::FINISH);
  ASSERT_TRUE(rig_.system->DrainServer(&contexts[1], drain, &status).ok());
  EXPECT_TRUE(status.draining());
  v1::Job job;
  EXPECT_EQ(Reason(rig_.robustness->TrainJob(&contexts[2], ApiRig::Training(kSucceed), &job)),
            "DRAINING");
  ASSERT_TRUE(rig_.system->UndrainServer(&contexts[3], {}, &status).ok());
  EXPECT_FALSE(status.draining());
  EXPECT_EQ(Wait(rig_.Submit(kSucceed).name()).state(), v1::SUCCEEDED);
}

TEST_F(ApiDrainTest, FlipsTheHealthAndBack) {
  EXPECT_EQ(HealthOf(channel_), "SERVING");
  v1::ServerStatus status;
  grpc::ClientContext contexts[4];
  v1::DrainServerRequest drain;
  for (const auto mode : {v1::DrainServerRequest::FINISH, v1::DrainServerRequest::REQUEUE}) {
    grpc::ClientContext* const pair = &contexts[mode == v1::DrainServerRequest::FINISH ? 0 : 2];
    drain.set_mode(mode);
    ASSERT_TRUE(rig_.system->DrainServer(&pair[0], drain, &status).ok());
    EXPECT_EQ(HealthOf(channel_), "NOT_SERVING");
    ASSERT_TRUE(rig_.system->UndrainServer(&pair[1], {}, &status).ok());
    EXPECT_EQ(HealthOf(channel_), "SERVING");
  }
}

TEST_F(ApiDrainTest, StaysUnhealthyOnceTheServerEnds) {
  rig_.api->SetNotServing();
  EXPECT_EQ(HealthOf(channel_), "NOT_SERVING");
  v1::ServerStatus status;
  grpc::ClientContext context;
  EXPECT_EQ(Reason(rig_.system->UndrainServer(&context, {}, &status)), "DRAINING");
  EXPECT_EQ(HealthOf(channel_), "NOT_SERVING");
}

TEST_F(ApiDrainTest, TellsWhoeverWaitsForAJobThatTheServerGoes) {
  const std::string name = rig_.Submit(kWaitForStop).name();
  rig_.jobs.AwaitState(name, v1::RUNNING);
  grpc::Status waited;
  std::thread waiter([&] {
    v1::WaitJobRequest request;
    request.set_name(name);
    request.mutable_timeout()->set_seconds(120);
    v1::Job job;
    grpc::ClientContext context;
    waited = jobs_->WaitJob(&context, request, &job);
  });
  grpc::Status followed;
  std::thread follower([&] {
    v1::ReadLogRequest request;
    request.set_name(name);
    request.set_follow(true);
    ReadLog(request, followed);
  });
  EXPECT_TRUE(Eventually([&] { return rig_.jobs.hub().watchers() == 2; }));
  rig_.api->GoAway();
  waiter.join();
  follower.join();
  EXPECT_EQ(Reason(waited), "DRAINING");
  EXPECT_EQ(Reason(followed), "DRAINING");
  EXPECT_EQ(waited.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ApiDrainTest, LetsAnUploadEndAndRefusesNewCallsMeanwhile) {
  const std::string name = Wait(rig_.Submit(kSucceed).name()).name();
  const std::string bytes(1000, 'u');
  WriteCall upload(*blobs_, ApiRig::NameOf(bytes));
  ASSERT_TRUE(upload.Send(bytes.substr(0, 400)));
  ASSERT_TRUE(Eventually([&] { return UploadedBytes(rig_.metrics.Text()) == 400; }));
  std::thread shutdown([&] { rig_.api->Shutdown(absl::Hours(1)); });
  grpc::Status refused;
  while (refused.ok()) refused = Get(name);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Reason(refused), "DRAINING");
  ASSERT_TRUE(upload.Send(bytes.substr(400), /*finish=*/true));
  const grpc::Status end = upload.Finish();
  EXPECT_TRUE(end.ok()) << end.error_message();
  shutdown.join();
}

TEST_F(ApiDrainTest, EndsWhatIsOpenAtItsDeadlineAsUnavailable) {
  const std::string bytes(1000, 'u');
  WriteCall upload(*blobs_, ApiRig::NameOf(bytes));
  ASSERT_TRUE(upload.Send(bytes.substr(0, 400)));
  ASSERT_TRUE(Eventually([&] { return UploadedBytes(rig_.metrics.Text()) == 400; }));
  rig_.api->Shutdown(absl::Seconds(1));
  const grpc::Status end = upload.AwaitEnd();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(end.error_message(), HasSubstr("shutting down"));  // the server's word, not gRPC's
}

// Neither a client that keeps its connection nor one that watches the health holds the server.
TEST_F(ApiDrainTest, WaitsOnlyForItsOwnCalls) {
  HealthWatch health(channel_);
  rig_.api->Shutdown(absl::Hours(1));
  EXPECT_EQ(health.AwaitEnd().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace adamant
