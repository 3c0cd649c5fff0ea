// SPDX-License-Identifier: Apache-2.0
// What users of other systems complained about, of the life of jobs (service.md 17).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "tests/support/workers/job_rig.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using namespace testing;  // NOLINT: the fake tasks

v1::SubmitOptions Paused() {
  v1::SubmitOptions options;
  options.set_start_paused(true);
  return options;
}

TEST(T04, CancelWorksInEveryStateThatIsNotTerminalAndKillsAfterTheGrace) {
  JobRig rig;
  rig.options.cancel_grace = absl::Milliseconds(100);
  rig.options.kill_grace = absl::Milliseconds(100);
  rig.options.pause_grace = absl::Hours(1);
  rig.StartScheduler();
  const std::string running = rig.Submit(kIgnoreStop);
  rig.AwaitState(running, v1::RUNNING);
  const std::string queued = rig.Submit(kSucceed);
  const std::string paused = rig.Submit(kSucceed, Paused());
  EXPECT_EQ(rig.Cancel(queued).state(), v1::CANCELLED);
  EXPECT_EQ(rig.Cancel(paused).state(), v1::CANCELLED);
  EXPECT_EQ(rig.Cancel(running).state(), v1::CANCELLING);
  rig.Cancel(running);
  EXPECT_EQ(rig.AwaitEnd(running).state(), v1::CANCELLED);

  const std::string pausing = rig.Submit(kIgnoreStop);
  rig.AwaitState(pausing, v1::RUNNING);
  EXPECT_EQ(rig.Pause(pausing).state(), v1::PAUSING);
  EXPECT_EQ(rig.Cancel(pausing).state(), v1::CANCELLING);
  EXPECT_EQ(rig.AwaitEnd(pausing).state(), v1::CANCELLED);

  const std::string starting = rig.Submit(kWaitForStop);
  rig.Await(starting, [](const v1::Job& job) { return job.state() != v1::QUEUED; });
  rig.Cancel(starting);
  EXPECT_EQ(rig.AwaitEnd(starting).state(), v1::CANCELLED);
}

TEST(T09, AnOutOfMemoryJobFailsAlone) {
  JobRig rig;
  rig.pool_options.slots = {Slot{}, Slot{}};
  rig.StartScheduler();
  const std::string other = rig.Submit(kWaitForStop);
  rig.AwaitState(other, v1::RUNNING);
  const v1::Job failed = rig.AwaitEnd(rig.Submit(kOutOfMemory));
  EXPECT_EQ(failed.state(), v1::FAILED);
  EXPECT_EQ(failed.state_reason(), v1::OUT_OF_MEMORY);
  EXPECT_EQ(rig.Get(other).state(), v1::RUNNING);
  EXPECT_EQ(rig.Get(other).attempt(), 1);
  EXPECT_EQ(rig.AwaitEnd(rig.Submit(kSucceed)).state(), v1::SUCCEEDED);
  rig.Cancel(other);
  rig.AwaitEnd(other);
}

TEST(T15, AfterARestartNoJobIsRunningWithoutAWorker) {
  JobRig rig;
  rig.pool_options.slots = {Slot{}, Slot{}};
  rig.StartScheduler();
  const std::string first = rig.Submit(kWaitForStop);
  const std::string second = rig.Submit(kWaitForStop);
  rig.AwaitState(first, v1::RUNNING);
  rig.AwaitState(second, v1::RUNNING);
  rig.StopScheduler();
  rig.pool_options.slots = {Slot{}};
  rig.StartScheduler();
  // One slot: one of them runs anew, the other waits, and both lost their first worker.
  for (const std::string& name : {first, second}) {
    const v1::Job job = rig.Await(name, [](const v1::Job& j) {
      return j.attempts(0).outcome() == v1::ATTEMPT_SERVER_RESTART;
    });
    EXPECT_TRUE(job.attempts(0).has_end_time());
  }
  const SchedulerStatus status = rig.scheduler().status();
  EXPECT_LE(status.running_jobs, 1);
  EXPECT_EQ(status.running_jobs + status.queued_jobs, 2);
}

TEST(T16, ARestartNeverYieldsFailed) {
  JobRig rig;
  rig.StartScheduler();
  v1::SubmitOptions strict;
  strict.mutable_retry_policy()->set_max_attempts(1);
  const std::string running = rig.Submit(kWaitForStop, strict);
  const std::string waiting = rig.Submit(kSucceed, strict);
  rig.AwaitState(running, v1::RUNNING);
  for (int round = 2; round <= 4; ++round) {
    rig.StopScheduler();
    rig.StartScheduler();
    const v1::Job job = rig.Await(running, [&](const v1::Job& j) {
      return IsTerminal(j.state()) || (j.attempt() == round && j.state() == v1::RUNNING);
    });
    ASSERT_EQ(job.state(), v1::RUNNING);
    EXPECT_EQ(job.charged_attempts(), 0);
  }
  rig.Cancel(running);
  EXPECT_EQ(rig.AwaitEnd(waiting).state(), v1::SUCCEEDED);
}

TEST(T23, StoppingNeverMarksAJobSucceededOrFailed) {
  JobRig rig;
  rig.options.pause_grace = absl::Milliseconds(50);
  rig.options.cancel_grace = absl::Milliseconds(50);
  rig.options.kill_grace = absl::Milliseconds(50);
  rig.StartScheduler();
  for (const FakeTask task : {kWaitForStop, kIgnoreStop}) {
    const std::string name = rig.Submit(task);
    rig.AwaitState(name, v1::RUNNING);
    rig.Pause(name);
    rig.AwaitState(name, v1::PAUSED);
    rig.Resume(name);
    rig.Await(name, [](const v1::Job& j) { return j.attempt() == 2 && j.state() == v1::RUNNING; });
    rig.scheduler().Requeue(absl::Milliseconds(50));
    rig.AwaitState(name, v1::QUEUED);
    rig.Cancel(name);
    EXPECT_EQ(rig.AwaitEnd(name).state(), v1::CANCELLED);
    EXPECT_THAT(rig.States(name), ::testing::Not(HasSubstr("FAILED")));
    EXPECT_THAT(rig.States(name), ::testing::Not(HasSubstr("SUCCEEDED")));
    rig.scheduler().ResumeAdmission();
  }
}

TEST(T24, ADrainThatLetsJobsFinishStartsNone) {
  JobRig rig;
  rig.StartScheduler();
  const std::string running = rig.Submit(kCheckpointThenCrash);
  const std::string waiting = rig.Submit(kSucceed);
  rig.Await(running, [](const v1::Job& job) { return HasWorker(job.state()); });
  rig.scheduler().StopAdmission();
  EXPECT_EQ(rig.Queue(waiting).blocking_reason(), v1::DRAINING);
  // The worker of the running job is lost: the job waits too, for the drain admits no new attempt.
  rig.Await(running,
            [](const v1::Job& job) { return job.state() == v1::QUEUED && job.attempt() == 1; });
  EXPECT_EQ(rig.Get(waiting).attempt(), 0);
  rig.scheduler().ResumeAdmission();
  EXPECT_EQ(rig.AwaitEnd(running).state(), v1::SUCCEEDED);
  EXPECT_EQ(rig.AwaitEnd(waiting).state(), v1::SUCCEEDED);
}

TEST(T25, ASlotWithForeignMemoryUseIsNotOffered) {
  std::atomic<int64_t> free_bytes{int64_t{20} << 30};
  JobRig rig;
  rig.pool_options.slots = {Slot{.device = "cuda:0", .threads = 1}};
  rig.options.device_condition = [&](int) {
    return DeviceCondition{.free_bytes = free_bytes, .total_bytes = int64_t{80} << 30};
  };
  rig.StartScheduler();
  const std::string name = rig.Submit(kSucceed);
  while (rig.Queue(name).blocking_reason() != v1::DEVICE_UNHEALTHY) {
    ASSERT_EQ(rig.Get(name).state(), v1::QUEUED);
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_THAT(rig.scheduler().status().slots[0].unhealthy(), HasSubstr("other programs use"));
  EXPECT_EQ(rig.Get(name).attempt(), 0);
  free_bytes = int64_t{80} << 30;
  EXPECT_EQ(rig.AwaitEnd(name).state(), v1::SUCCEEDED);
}

TEST(T26, TheReasonSeparatesMachineFromUserAndTheCheckpointComesBeforeTheState) {
  JobRig rig;
  rig.StartScheduler();
  EXPECT_EQ(rig.AwaitEnd(rig.Submit(kUserError)).state_reason(), v1::MODEL_INCOMPATIBLE);
  v1::SubmitOptions once;
  once.mutable_retry_policy()->set_max_attempts(1);
  EXPECT_EQ(rig.AwaitEnd(rig.Submit(kCrash, once)).state_reason(), v1::WORKER_LOST);

  const std::string name = rig.Submit(kWaitForStop);
  rig.AwaitState(name, v1::RUNNING);
  rig.Pause(name);
  rig.AwaitState(name, v1::PAUSED);
  int64_t checkpoint = 0;
  int64_t paused = 0;
  for (const v1::JobEvent& event : rig.Events(name)) {
    if (event.has_checkpoint()) checkpoint = event.seq();
    if (event.state().to() == v1::PAUSED) paused = event.seq();
  }
  EXPECT_GT(checkpoint, 0);
  EXPECT_LT(checkpoint, paused);
}

TEST(T27, EveryQueuedJobHasAPositionAndABlockingReason) {
  JobRig rig;
  rig.StartScheduler();
  const std::string running = rig.Submit(kWaitForStop);
  rig.AwaitState(running, v1::RUNNING);
  std::vector<std::string> waiting;
  for (int i = 0; i < 5; ++i) waiting.push_back(rig.Submit(kSucceed));
  for (int i = 0; i < 5; ++i) {
    const v1::QueueInfo info = rig.Queue(waiting[static_cast<size_t>(i)]);
    EXPECT_EQ(info.position(), i + 1);
    EXPECT_EQ(info.jobs_ahead(), i);
    EXPECT_EQ(info.blocking_reason(), i == 0 ? v1::WAITING_FOR_SLOT : v1::BEHIND_OTHERS);
    EXPECT_NE(info.blocking_message(), "");
  }
  rig.Cancel(running);
  for (const std::string& name : waiting) rig.AwaitEnd(name);
}

}  // namespace
}  // namespace adamant
