// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/support/api/job_calls.h"
#include "tests/support/blobs/write_call.h"

namespace adamant {
namespace {

using namespace testing;  // NOLINT: the fake tasks
using Stub = v1::RobustnessService::Stub;

constexpr char kRequestId[] = "01234567-89ab-4cde-8f01-23456789abcd";

class ApiVerbsTest : public JobCalls {
 protected:
  grpc::Status Delete(const std::string& name, const std::string& etag = "") {
    v1::JobVerbRequest request;
    request.set_name(name);
    request.set_etag(etag);
    google::protobuf::Empty nothing;
    grpc::ClientContext context;
    return rig_.robustness->DeleteJob(&context, request, &nothing);
  }
  grpc::Status Get(const std::string& name, v1::Job& job) {
    v1::GetJobRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    return rig_.robustness->GetJob(&context, request, &job);
  }
};

TEST_F(ApiVerbsTest, PausesAndResumesAQueuedJobDirectly) {
  const std::string running = rig_.Submit(kWaitForStop).name();
  rig_.jobs.AwaitState(running, v1::RUNNING);
  const v1::Job queued = rig_.Submit(kSucceed);
  v1::Job paused;
  ASSERT_TRUE(rig_.Call(&Stub::PauseJob, queued.name(), paused).ok());
  EXPECT_EQ(paused.state(), v1::PAUSED);
  EXPECT_EQ(paused.state_reason(), v1::USER_REQUEST);
  v1::Job again;
  ASSERT_TRUE(rig_.Call(&Stub::PauseJob, queued.name(), again).ok());
  EXPECT_EQ(again.etag(), paused.etag());

  v1::Job job;
  EXPECT_TRUE(rig_.Call(&Stub::CancelJob, running, job).ok());
  rig_.jobs.AwaitEnd(running);
  EXPECT_EQ(rig_.jobs.Get(queued.name()).state(), v1::PAUSED);  // though the slot is free

  v1::Job resumed;
  ASSERT_TRUE(rig_.Call(&Stub::ResumeJob, queued.name(), resumed).ok());
  EXPECT_EQ(resumed.state(), v1::QUEUED);
  EXPECT_EQ(resumed.create_time().seconds(), queued.create_time().seconds());
  EXPECT_EQ(resumed.create_time().nanos(), queued.create_time().nanos());
  EXPECT_EQ(Wait(queued.name()).state(), v1::SUCCEEDED);
}

TEST_F(ApiVerbsTest, PausesARunningJobAtACheckpointAndResumesItThere) {
  const std::string name = rig_.Submit(kWaitForStop).name();
  rig_.jobs.AwaitState(name, v1::RUNNING);
  v1::Job job;
  ASSERT_TRUE(rig_.Call(&Stub::PauseJob, name, job).ok());
  EXPECT_EQ(job.state(), v1::PAUSING);
  job = rig_.jobs.AwaitState(name, v1::PAUSED);
  ASSERT_EQ(job.artifacts_size(), 1);
  EXPECT_EQ(job.artifacts(0).role(), "checkpoint");
  EXPECT_EQ(job.charged_attempts(), 0);
  ASSERT_TRUE(rig_.Call(&Stub::ResumeJob, name, job).ok());
  job = rig_.jobs.Await(
      name, [](const v1::Job& j) { return j.state() == v1::RUNNING && j.attempt() == 2; });
  ASSERT_TRUE(rig_.Call(&Stub::ResumeJob, name, job).ok());  // as it is
  EXPECT_EQ(job.attempt(), 2);
  EXPECT_TRUE(rig_.Call(&Stub::CancelJob, name, job).ok());
  EXPECT_EQ(Wait(name).state(), v1::CANCELLED);
}

TEST_F(ApiVerbsTest, RefuseWhatTheStateDoesNotAllow) {
  const v1::Job ended = Wait(rig_.Submit(kSucceed).name());
  v1::Job job;
  for (const auto verb : {&Stub::PauseJob, &Stub::ResumeJob, &Stub::CancelJob}) {
    const grpc::Status status = rig_.Call(verb, ended.name(), job);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(Reason(status), "WRONG_STATE");
    EXPECT_EQ(Reason(rig_.Call(verb, "jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa", job)), "JOB_NOT_FOUND");
  }
  const std::string running = rig_.Submit(kWaitForStop).name();
  const v1::Job fresh = rig_.jobs.AwaitState(running, v1::RUNNING);
  EXPECT_EQ(Reason(rig_.Call(&Stub::PauseJob, running, job, "stale")), "ETAG_MISMATCH");
  EXPECT_EQ(Reason(Delete(running)), "WRONG_STATE");
  EXPECT_TRUE(rig_.Call(&Stub::PauseJob, running, job, fresh.etag()).ok());
  rig_.jobs.AwaitState(running, v1::PAUSED);
  EXPECT_EQ(Reason(rig_.Call(&Stub::ResumeJob, running, job, "stale")), "ETAG_MISMATCH");
  rig_.jobs.scheduler().StopAdmission();
  EXPECT_EQ(Reason(rig_.Call(&Stub::ResumeJob, running, job)), "DRAINING");
}

TEST_F(ApiVerbsTest, DeleteAJobWithItsLogButNotItsRequestId) {
  v1::TrainJobRequest request = ApiRig::Training(kSucceed);
  request.mutable_options()->set_request_id(kRequestId);
  v1::Job job;
  grpc::ClientContext contexts[3];
  ASSERT_TRUE(rig_.robustness->TrainJob(&contexts[0], request, &job).ok());
  const std::string name = Wait(job.name()).name();
  const std::string log = rig_.jobs.options.log_folder + "/" + name.substr(5);
  EXPECT_TRUE(std::filesystem::exists(log));
  EXPECT_EQ(Reason(Delete(name, "stale")), "ETAG_MISMATCH");
  ASSERT_TRUE(Get(name, job).ok());
  EXPECT_TRUE(Delete(name, job.etag()).ok());
  EXPECT_EQ(Reason(Get(name, job)), "JOB_NOT_FOUND");
  EXPECT_EQ(Reason(Delete(name)), "JOB_NOT_FOUND");
  v1::ReadLogRequest read;
  read.set_name(name);
  grpc::Status end;
  ReadLog(read, end);
  EXPECT_EQ(Reason(end), "JOB_NOT_FOUND");
  v1::ListJobsResponse list;
  ASSERT_TRUE(rig_.robustness->ListJobs(&contexts[1], {}, &list).ok());
  EXPECT_EQ(list.jobs_size(), 0);
  EXPECT_EQ(Reason(rig_.robustness->TrainJob(&contexts[2], request, &job)),
            "REQUEST_ID_JOB_DELETED");
  EXPECT_TRUE(Eventually([&] { return !std::filesystem::exists(log); }));
}

}  // namespace
}  // namespace adamant
