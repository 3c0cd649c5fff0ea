// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "server/api/submitter.h"
#include "tests/support/api/job_calls.h"

namespace adamant {
namespace {

using namespace testing;  // NOLINT: the fake tasks

constexpr char kRequestId[] = "01234567-89ab-4cde-8f01-23456789abcd";

class ApiRetryTest : public JobCalls {};

TEST_F(ApiRetryTest, RetriesAJobThatHasEndedAsANewOneWithMergedOptions) {
  v1::TrainJobRequest request = ApiRig::Training(kUserError);
  request.mutable_options()->set_request_id(kRequestId);
  request.mutable_options()->set_display_name("first");
  request.mutable_options()->set_priority(7);
  v1::Job old;
  grpc::ClientContext contexts[4];
  ASSERT_TRUE(rig_.robustness->TrainJob(&contexts[0], request, &old).ok());
  old = Wait(old.name());
  EXPECT_EQ(old.state(), v1::FAILED);
  v1::RetryJobRequest retry;
  retry.set_name(old.name());
  retry.mutable_options()->set_display_name("second");
  retry.mutable_options()->set_request_id("11234567-89ab-4cde-8f01-23456789abcd");
  v1::Job job;
  const grpc::Status status = rig_.robustness->RetryJob(&contexts[1], retry, &job);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_NE(job.name(), old.name());
  EXPECT_EQ(job.retry_of(), old.name());
  EXPECT_EQ(job.spec_digest(), old.spec_digest());
  EXPECT_EQ(job.options().display_name(), "second");
  EXPECT_EQ(job.options().priority(), 7);
  v1::Job again;
  ASSERT_TRUE(rig_.robustness->RetryJob(&contexts[2], retry, &again).ok());
  EXPECT_EQ(again.name(), job.name());
  retry.set_name(rig_.Submit(kWaitForStop).name());
  EXPECT_EQ(Reason(rig_.robustness->RetryJob(&contexts[3], retry, &job)), "WRONG_STATE");
}

TEST_F(ApiRetryTest, RetriesOnlyWhileTheInputsAreThere) {
  rig_.jobs.Register("net", "");
  rig_.jobs.AwaitModel("models/net", [](const v1::Model& m) { return m.state() == v1::READY; });
  v1::TrainJobRequest request = ApiRig::Training(kSucceed);
  request.mutable_spec()->mutable_model()->set_model("models/net");
  v1::Job job;
  grpc::ClientContext contexts[3];
  ASSERT_TRUE(rig_.robustness->TrainJob(&contexts[0], request, &job).ok());
  Wait(job.name());
  v1::DeleteModelRequest remove;
  remove.set_name("models/net");
  google::protobuf::Empty nothing;
  ASSERT_TRUE(rig_.models->DeleteModel(&contexts[1], remove, &nothing).ok());
  v1::RetryJobRequest retry;
  retry.set_name(job.name());
  EXPECT_EQ(Reason(rig_.robustness->RetryJob(&contexts[2], retry, &job)), "MODEL_NOT_FOUND");
}

TEST(RetryOptions, KeepsWhatTheRetryDoesNotSet) {
  v1::SubmitOptions old;
  old.set_priority(3);
  old.set_start_paused(true);
  old.set_cache(v1::CACHE_USE);
  old.mutable_queue_timeout()->set_seconds(60);
  (*old.mutable_labels())["a"] = "1";
  v1::SubmitOptions wanted;
  wanted.mutable_max_run_time()->set_seconds(5);
  const v1::SubmitOptions merged = RetryOptions(old, wanted);
  EXPECT_EQ(merged.priority(), 3);
  EXPECT_FALSE(merged.start_paused());
  EXPECT_EQ(merged.cache(), v1::CACHE_MODE_UNSPECIFIED);
  EXPECT_EQ(merged.queue_timeout().seconds(), 60);
  EXPECT_EQ(merged.max_run_time().seconds(), 5);
  EXPECT_EQ(merged.labels().at("a"), "1");
}

}  // namespace
}  // namespace adamant
