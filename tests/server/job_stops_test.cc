// SPDX-License-Identifier: Apache-2.0
// Cancels, pauses and drains.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error_reason.h"
#include "tests/support/workers/job_rig.h"

namespace adamant {
namespace {

using namespace testing;  // NOLINT: the fake tasks

class JobStopsTest : public ::testing::Test {
 protected:
  JobRig rig_;
};

TEST_F(JobStopsTest, CancelsAQueuedJobAtOnce) {
  rig_.StartScheduler();
  const std::string running = rig_.Submit(kWaitForStop);
  rig_.AwaitState(running, v1::RUNNING);
  const std::string waiting = rig_.Submit(kSucceed);
  v1::Job queued = rig_.Get(waiting);
  rig_.scheduler().Decorate(queued);
  EXPECT_EQ(queued.queue().position(), 1);
  EXPECT_EQ(rig_.Cancel(waiting).state(), v1::CANCELLED);
  rig_.Cancel(running);
  rig_.AwaitEnd(running);
  EXPECT_EQ(rig_.States(waiting), "QUEUED CANCELLED");
}

TEST_F(JobStopsTest, CancelsARunningJobCooperatively) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kWaitForStop);
  rig_.AwaitState(name, v1::RUNNING);
  EXPECT_EQ(rig_.Cancel(name).state(), v1::CANCELLING);
  rig_.Cancel(name);  // again: no effect
  EXPECT_EQ(rig_.AwaitEnd(name).state(), v1::CANCELLED);
  EXPECT_EQ(rig_.States(name), "QUEUED STARTING RUNNING CANCELLING CANCELLED");
  EXPECT_EQ(rig_.AwaitEnd(rig_.Submit(kSucceed)).state(), v1::SUCCEEDED);  // the slot is free
}

TEST_F(JobStopsTest, KillsAWorkerThatIgnoresCancel) {
  rig_.options.cancel_grace = absl::Milliseconds(50);
  rig_.options.kill_grace = absl::Milliseconds(50);
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kIgnoreStop);
  rig_.AwaitState(name, v1::RUNNING);
  rig_.Cancel(name);
  EXPECT_EQ(rig_.AwaitEnd(name).state(), v1::CANCELLED);
}

TEST_F(JobStopsTest, EndsAJobAtItsRunTimeLimit) {
  rig_.options.cancel_grace = absl::Milliseconds(50);
  rig_.StartScheduler();
  v1::SubmitOptions limited;
  limited.mutable_max_run_time()->set_seconds(1);
  const v1::Job job = rig_.AwaitEnd(rig_.Submit(kWaitForStop, limited));
  EXPECT_EQ(job.state(), v1::FAILED);
  EXPECT_EQ(job.state_reason(), v1::TIMEOUT);
}

TEST_F(JobStopsTest, DrainCheckpointsAndRequeuesWithoutCharge) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kWaitForStop);
  rig_.AwaitState(name, v1::RUNNING);
  rig_.scheduler().StopAdmission();
  NewJob late = MakeJob({}, {}, "local", "me", absl::Now());
  const auto refused =
      adamant::Await<SubmittedJob>([&](auto reply) { rig_.scheduler().Submit(late, reply); });
  EXPECT_EQ(ReasonOf(refused.status()), "DRAINING");
  rig_.scheduler().Drain(absl::Seconds(30));
  const v1::Job job = rig_.Get(name);
  EXPECT_EQ(job.state(), v1::QUEUED);
  EXPECT_EQ(job.state_reason(), v1::DRAIN);
  EXPECT_EQ(job.charged_attempts(), 0);
  ASSERT_EQ(job.artifacts_size(), 1);
  EXPECT_EQ(job.artifacts(0).role(), "checkpoint");
}

TEST_F(JobStopsTest, APauseKeepsACheckpointAndResumeGoesOnFromIt) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kWaitForStop);
  rig_.AwaitState(name, v1::RUNNING);
  EXPECT_EQ(rig_.Pause(name).state(), v1::PAUSING);
  rig_.Pause(name);  // again: no effect
  v1::Job job = rig_.AwaitState(name, v1::PAUSED);
  EXPECT_EQ(rig_.States(name), "QUEUED STARTING RUNNING PAUSING PAUSED");
  EXPECT_EQ(job.state_reason(), v1::USER_REQUEST);
  EXPECT_EQ(job.attempts(0).outcome(), v1::ATTEMPT_PAUSED);
  EXPECT_EQ(job.charged_attempts(), 0);
  ASSERT_EQ(job.artifacts_size(), 1);
  EXPECT_EQ(job.artifacts(0).role(), "checkpoint");
  EXPECT_EQ(rig_.Pause(name).etag(), job.etag());
  EXPECT_EQ(rig_.Resume(name).state(), v1::QUEUED);
  rig_.Await(name, [](const v1::Job& j) { return j.attempt() == 2; });
  rig_.Cancel(name);
  EXPECT_EQ(rig_.AwaitEnd(name).state(), v1::CANCELLED);
}

TEST_F(JobStopsTest, APauseWhoseGraceIsOverKillsAndKeepsTheLastGoodCheckpoint) {
  rig_.options.pause_grace = absl::Milliseconds(50);
  rig_.options.kill_grace = absl::Milliseconds(50);
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kIgnoreStop);
  rig_.AwaitState(name, v1::RUNNING);
  rig_.Pause(name);
  EXPECT_EQ(rig_.AwaitState(name, v1::PAUSED).charged_attempts(), 0);
}

TEST_F(JobStopsTest, AJobSubmittedPausedStartsWhenItIsResumed) {
  rig_.StartScheduler();
  v1::SubmitOptions paused;
  paused.set_start_paused(true);
  const std::string name = rig_.Submit(kSucceed, paused);
  EXPECT_EQ(rig_.AwaitEnd(rig_.Submit(kSucceed)).state(), v1::SUCCEEDED);  // passes it
  EXPECT_EQ(rig_.Get(name).state(), v1::PAUSED);
  rig_.Resume(name);
  EXPECT_EQ(rig_.AwaitEnd(name).state(), v1::SUCCEEDED);
}

TEST_F(JobStopsTest, AVerbWithAStaleEtagChangesNothing) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kWaitForStop);
  rig_.AwaitState(name, v1::RUNNING);
  const auto paused = adamant::Await<v1::Job>(
      [&](auto reply) { rig_.scheduler().Pause("local", name.substr(5), "1", reply); });
  EXPECT_EQ(ReasonOf(paused.status()), "ETAG_MISMATCH");
  EXPECT_EQ(rig_.Get(name).state(), v1::RUNNING);
}

TEST_F(JobStopsTest, UndrainStartsWhatARequeueingDrainStopped) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kWaitForStop);
  rig_.AwaitState(name, v1::RUNNING);
  rig_.scheduler().Requeue(absl::Seconds(30));
  rig_.Await(name, [](const v1::Job& job) { return job.state() == v1::QUEUED; });
  EXPECT_EQ(rig_.Queue(name).blocking_reason(), v1::DRAINING);
  EXPECT_TRUE(rig_.scheduler().status().draining);
  rig_.scheduler().ResumeAdmission();
  rig_.Await(name, [](const v1::Job& job) { return job.attempt() == 2; });
  rig_.Cancel(name);
  rig_.AwaitEnd(name);
}

}  // namespace
}  // namespace adamant
