// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/scheduler_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "server/jobs/job.h"
#include "tests/support/workers/virtual_clock.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::VirtualClock;

// Writes down what the core asks for.
class Recorder : public JobRunner {
 public:
  void StartAttempt(const std::string& uid, int slot) override {
    calls.push_back(absl::StrCat("start ", uid, " on ", slot));
  }
  void StopAttempt(const std::string& uid, StopReason reason, absl::Duration /*grace*/) override {
    calls.push_back(absl::StrCat("stop ", uid, " ", static_cast<int>(reason)));
  }
  void RenewLease(const std::string& uid, int64_t fence) override {
    calls.push_back(absl::StrCat("renew ", uid, " ", fence));
  }
  void TakeOver(const std::string& uid, int64_t fence) override {
    calls.push_back(absl::StrCat("take over ", uid, " ", fence));
  }
  void FailQueued(const std::string& uid, v1::StateReason reason,
                  const std::string& /*message*/) override {
    calls.push_back(absl::StrCat("fail ", uid, " ", v1::StateReason_Name(reason)));
  }
  void Probe(int slot) override { calls.push_back(absl::StrCat("probe ", slot)); }

  std::vector<std::string> Take() { return std::exchange(calls, {}); }
  std::vector<std::string> calls;
};

const std::string kFence = absl::StrCat(static_cast<int>(StopReason::kFence));

class SchedulerCoreTest : public ::testing::Test {
 protected:
  void Make(std::vector<std::string> devices) {
    std::vector<Slot> slots;
    for (const std::string& device : devices) slots.push_back({.device = device, .threads = 1});
    core_ = std::make_unique<SchedulerCore>(slots, options_, clock_, runner_);
  }
  void Queue(const std::string& uid, int64_t host_bytes = 0, const std::string& tenant = "local") {
    v1::Job& job = jobs_[uid];
    job.set_tenant(tenant);
    job.set_state(v1::QUEUED);
    *job.mutable_queue_time() = ToProto(clock_.Wall());
    job.mutable_options()->mutable_resources()->set_host_memory_bytes(host_bytes);
    core_->OnJob(uid, job);
  }
  void Set(const std::string& uid, v1::JobState state) {
    jobs_[uid].set_state(state);
    core_->OnJob(uid, jobs_[uid]);
  }
  // The claim and the first step of an attempt.
  void Run(const std::string& uid) {
    v1::Job& job = jobs_[uid];
    v1::Attempt& attempt = *job.add_attempts();
    attempt.set_fence(job.attempts_size());
    Set(uid, v1::STARTING);
    Set(uid, v1::RUNNING);
  }
  void EndRun(const std::string& uid, v1::JobState state, AttemptOver over = {}) {
    Set(uid, state);
    core_->OnAttemptOver(uid, over);
  }
  std::vector<std::string> StepAfter(absl::Duration wait) {
    clock_.Advance(wait);
    core_->Step();
    return runner_.Take();
  }
  std::vector<std::string> Step() { return StepAfter(absl::ZeroDuration()); }
  v1::BlockingReason Blocked(const std::string& uid) {
    return core_->Describe(uid).blocking_reason();
  }

  VirtualClock clock_;
  SchedulerOptions options_;
  Recorder runner_;
  std::map<std::string, v1::Job> jobs_;
  std::unique_ptr<SchedulerCore> core_;
};

// A reader may see that a job is queued before the scheduler is told.
TEST_F(SchedulerCoreTest, TellsPositionAndReasonOfAJobThatItDoesNotKnowYet) {
  Make({"cpu"});
  for (const char* uid : {"a", "b"}) Queue(uid);
  const v1::QueueInfo info = core_->Describe("c");
  EXPECT_EQ(info.position(), 3);
  EXPECT_EQ(info.jobs_ahead(), 2);
  EXPECT_EQ(info.blocking_reason(), v1::BEHIND_OTHERS);
}

TEST_F(SchedulerCoreTest, GivesEachFreeSlotToTheNextJob) {
  Make({"cpu", "cpu"});
  for (const char* uid : {"a", "b", "c"}) Queue(uid);
  EXPECT_THAT(Step(), ElementsAre("start a on 0", "start b on 1"));
  EXPECT_EQ(core_->Describe("c").position(), 3);  // a and b are not claimed yet
  Run("a");
  Run("b");
  EXPECT_EQ(core_->Describe("c").position(), 1);
  EXPECT_EQ(Blocked("c"), v1::WAITING_FOR_SLOT);
  EndRun("a", v1::FAILED);  // a failed job frees its slot
  EXPECT_THAT(Step(), ElementsAre("start c on 0"));
}

TEST_F(SchedulerCoreTest, StartsAJobOnlyWhenTheMemoryLedgerHasRoom) {
  options_.host_memory_bytes = 100;
  Make({"cpu", "cpu", "cpu"});
  Queue("a", 60);
  Queue("big", 50);
  Queue("c", 40);
  EXPECT_THAT(Step(), ElementsAre("start a on 0", "start c on 1"));
  Run("a");
  Run("c");
  EXPECT_EQ(Blocked("big"), v1::WAITING_FOR_MEMORY);
  EndRun("a", v1::SUCCEEDED);
  EXPECT_THAT(Step(), ElementsAre("start big on 0"));
}

TEST_F(SchedulerCoreTest, KeepsTheNextFittingSlotForAJobSkippedForTenMinutes) {
  options_.host_memory_bytes = 100;
  Make({"cpu", "cpu"});
  Queue("a", 60);
  Queue("big", 90);
  Queue("small1", 10);
  EXPECT_THAT(Step(), ElementsAre("start a on 0", "start small1 on 1"));
  Run("a");
  Run("small1");
  Queue("small2", 10);
  clock_.Advance(absl::Minutes(9));
  EndRun("small1", v1::SUCCEEDED);
  EXPECT_THAT(Step(), ::testing::Contains("start small2 on 1"));  // still passed over
  Run("small2");
  Queue("small3", 10);
  clock_.Advance(absl::Minutes(1));
  EndRun("small2", v1::SUCCEEDED);
  EXPECT_THAT(Step(), ::testing::Not(::testing::Contains(HasSubstr("start"))));
  EndRun("a", v1::SUCCEEDED);
  EXPECT_THAT(Step(), ElementsAre("start big on 0", "start small3 on 1"));
}

TEST_F(SchedulerCoreTest, AJobThatNeedsMoreThanThereIsRunsAlone) {
  options_.host_memory_bytes = 100;
  Make({"cpu", "cpu"});
  Queue("a", 500);
  Queue("b", 1);
  EXPECT_THAT(Step(), ElementsAre("start a on 0"));
}

TEST_F(SchedulerCoreTest, FillsUnsetNeedsFromTheEstimate) {
  options_.host_memory_bytes = 100;
  options_.estimate = [](const v1::JobSpec&, const v1::Model* model, const v1::Dataset*) {
    EXPECT_EQ(model, nullptr);
    v1::Resources guess;
    guess.set_host_memory_bytes(70);
    return guess;
  };
  Make({"cpu", "cpu"});
  Queue("a");
  Queue("b");
  EXPECT_THAT(Step(), ElementsAre("start a on 0"));
}

TEST_F(SchedulerCoreTest, PutsNoJobWhereADeviceFaultedTwiceUntilAProbePasses) {
  Make({"cuda:0"});
  Queue("a");
  Step();
  Run("a");
  EndRun("a", v1::QUEUED, {.outcome = v1::ATTEMPT_DEVICE_FAULT});
  EXPECT_THAT(Step(), ElementsAre("probe 0"));
  EXPECT_EQ(Blocked("a"), v1::DEVICE_UNHEALTHY);
  core_->OnProbe(0, absl::UnavailableError("wrong sum"));
  EXPECT_THAT(Step(), IsEmpty());
  EXPECT_THAT(core_->Status().slots[0].unhealthy(), HasSubstr("wrong sum"));
  EXPECT_THAT(StepAfter(absl::Seconds(5)), ElementsAre("probe 0"));
  core_->OnProbe(0, absl::OkStatus());
  EXPECT_THAT(Step(), ElementsAre("start a on 0"));
  EXPECT_EQ(core_->Status().slots[0].unhealthy(), "");
}

TEST_F(SchedulerCoreTest, QuarantinesACpuSlotOnlyAfterTwoFaultsInTenMinutes) {
  Make({"cpu"});
  Queue("a");
  Step();
  Run("a");
  EndRun("a", v1::QUEUED, {.outcome = v1::ATTEMPT_DEVICE_FAULT});
  EXPECT_THAT(Step(), ElementsAre("start a on 0"));
  Run("a");
  clock_.Advance(absl::Seconds(20));
  EndRun("a", v1::QUEUED, {.outcome = v1::ATTEMPT_DEVICE_FAULT});
  EXPECT_THAT(Step(), ElementsAre("probe 0"));
}

TEST_F(SchedulerCoreTest, TriesAnotherDeviceFirstAfterAFault) {
  Make({"cuda:0", "cuda:1"});
  Queue("a");
  Queue("b");
  Step();
  Run("a");
  Run("b");
  jobs_["a"].mutable_attempts(0)->set_outcome(v1::ATTEMPT_DEVICE_FAULT);
  jobs_["a"].mutable_attempts(0)->set_device("cuda:0");
  EndRun("a", v1::QUEUED, {.outcome = v1::ATTEMPT_DEVICE_FAULT});
  EXPECT_THAT(Step(), ElementsAre("probe 0"));
  core_->OnProbe(0, absl::OkStatus());
  EndRun("b", v1::SUCCEEDED);
  EXPECT_THAT(Step(), ElementsAre("start a on 1"));
}

TEST_F(SchedulerCoreTest, ProbesAGpuAfterAWorkerWasKilledAtWork) {
  Make({"cuda:0"});
  Queue("a");
  Step();
  Run("a");
  EndRun("a", v1::CANCELLED, {.outcome = v1::ATTEMPT_CANCELLED, .killed = true});
  EXPECT_THAT(Step(), ElementsAre("probe 0"));
}

TEST_F(SchedulerCoreTest, RenewsALeaseEveryTenSecondsAndFencesItselfWithoutAnAnswer) {
  Make({"cpu"});
  Queue("a");
  Step();
  Run("a");
  EXPECT_THAT(StepAfter(absl::Seconds(9)), IsEmpty());
  EXPECT_THAT(StepAfter(absl::Seconds(1)), ElementsAre("renew a 1"));
  core_->OnLease("a", 1, v1::RUNNING);
  EXPECT_THAT(StepAfter(absl::Seconds(10)), ElementsAre("renew a 1"));
  // No answer: 25 s after the last question that was answered the attempt is given up.
  EXPECT_THAT(StepAfter(absl::Seconds(14)), IsEmpty());
  EXPECT_THAT(StepAfter(absl::Seconds(1)), ElementsAre("stop a " + kFence));
  core_->OnAttemptOver("a", {.outcome = v1::ATTEMPT_FENCED});
  EXPECT_THAT(StepAfter(absl::Seconds(4)), IsEmpty());
  EXPECT_THAT(StepAfter(absl::Seconds(1)), ElementsAre("take over a 1"));
}

TEST_F(SchedulerCoreTest, AStepOfTheWallClockCostsNoLease) {
  Make({"cpu"});
  Queue("a");
  Step();
  Run("a");
  clock_.JumpWall(absl::Hours(24));
  EXPECT_THAT(Step(), IsEmpty());
  clock_.JumpWall(-absl::Hours(48));
  EXPECT_THAT(StepAfter(absl::Seconds(9)), IsEmpty());
}

TEST_F(SchedulerCoreTest, GivesUpAtOnceWhenTheStoreSaysThatTheLeaseIsLost) {
  Make({"cpu"});
  Queue("a");
  Step();
  Run("a");
  StepAfter(absl::Seconds(10));
  core_->OnLease("a", 1, absl::AbortedError("another attempt owns it"));
  EXPECT_THAT(runner_.Take(), ElementsAre("stop a " + kFence));
}

TEST_F(SchedulerCoreTest, TheRenewalTellsWhatTheAttemptShouldDo) {
  Make({"cpu"});
  Queue("a");
  Step();
  Run("a");
  StepAfter(absl::Seconds(10));
  core_->OnLease("a", 1, v1::CANCELLING);
  EXPECT_THAT(runner_.Take(),
              ElementsAre(absl::StrCat("stop a ", static_cast<int>(StopReason::kCancel))));
}

TEST_F(SchedulerCoreTest, TakesOverAJobWhoseAttemptIsNotHere) {
  Make({"cpu"});
  jobs_["a"].add_attempts()->set_fence(7);
  Set("a", v1::RUNNING);
  EXPECT_THAT(StepAfter(absl::Seconds(29)), IsEmpty());
  EXPECT_THAT(StepAfter(absl::Seconds(1)), ElementsAre("take over a 7"));
}

TEST_F(SchedulerCoreTest, FailsAJobThatWaitedLongerThanItsQueueTimeoutAlsoWhileDraining) {
  Make({"cpu"});
  core_->SetAdmission(false);
  jobs_["a"].mutable_options()->mutable_queue_timeout()->set_seconds(60);
  Queue("a");
  EXPECT_EQ(Blocked("a"), v1::DRAINING);
  EXPECT_THAT(StepAfter(absl::Seconds(59)), IsEmpty());
  EXPECT_THAT(StepAfter(absl::Seconds(1)), ElementsAre("fail a QUEUE_TIMEOUT"));
  EXPECT_THAT(Step(), IsEmpty());
}

TEST_F(SchedulerCoreTest, WaitsForTheRetryTimeOfAJob) {
  Make({"cpu"});
  *jobs_["a"].mutable_retry_time() = ToProto(clock_.Wall() + absl::Seconds(4));
  Queue("a");
  EXPECT_THAT(Step(), IsEmpty());
  EXPECT_EQ(Blocked("a"), v1::BACKOFF);
  EXPECT_THAT(StepAfter(absl::Seconds(4)), ElementsAre("start a on 0"));
}

TEST_F(SchedulerCoreTest, RefusesWhatIsAboveTheLimitsOfTheQueue) {
  options_.max_queued_jobs = 3;
  options_.max_queued_jobs_per_tenant = 2;
  Make({"cpu"});
  core_->SetAdmission(true);
  for (const char* uid : {"a", "b"}) Queue(uid, 0, "one");
  EXPECT_EQ(ReasonOf(core_->Admit("one")), "QUEUE_FULL");
  EXPECT_TRUE(core_->Admit("two").ok());
  Queue("c", 0, "two");
  EXPECT_EQ(ReasonOf(core_->Admit("three")), "QUEUE_FULL");
  core_->SetAdmission(false);
  EXPECT_EQ(ReasonOf(core_->Admit("three")), "DRAINING");
}

TEST_F(SchedulerCoreTest, LendsAFreeSlotAndWantsItBackForAJob) {
  Make({"cpu"});
  std::vector<int> wanted;
  const auto lend = [&] {
    return core_->TryHoldSlot({}, [&](int slot) { wanted.push_back(slot); });
  };
  EXPECT_EQ(lend(), 0);
  EXPECT_EQ(lend(), std::nullopt);
  EXPECT_THAT(Step(), IsEmpty());
  EXPECT_THAT(wanted, IsEmpty());
  Queue("a");
  EXPECT_THAT(Step(), IsEmpty());
  EXPECT_THAT(wanted, ElementsAre(0));
  core_->ReleaseSlot(0, {});
  EXPECT_THAT(Step(), ElementsAre("start a on 0"));
  core_->SetAdmission(false);
  EXPECT_EQ(lend(), std::nullopt);
}

TEST_F(SchedulerCoreTest, CountsTheMemoryOfLentSlotsAndWantsItBackForAJob) {
  options_.host_memory_bytes = 100;
  Make({"cpu", "cpu", "cpu"});
  std::vector<int> wanted;
  v1::Resources needs;
  needs.set_host_memory_bytes(60);
  const auto lend = [&] {
    return core_->TryHoldSlot(needs, [&](int slot) { wanted.push_back(slot); });
  };
  EXPECT_EQ(lend(), 0);
  EXPECT_EQ(lend(), std::nullopt);
  Queue("small", 40);
  Queue("large", 50);
  EXPECT_THAT(Step(), ElementsAre("start small on 1"));
  EXPECT_EQ(Blocked("large"), v1::WAITING_FOR_MEMORY);
  EXPECT_THAT(wanted, ElementsAre(0));
  core_->ReleaseSlot(0, {});
  EXPECT_THAT(Step(), ElementsAre("start large on 0"));
}

TEST_F(SchedulerCoreTest, ProbesAGpuThatWasLentToAWorkerThatHadToBeKilled) {
  Make({"cuda:0"});
  EXPECT_EQ(core_->TryHoldSlot({}, [](int) {}), 0);
  core_->ReleaseSlot(0, {.killed = true});
  EXPECT_THAT(Step(), ElementsAre("probe 0"));
}

// One run took 10 minutes and one 20: 15 are expected. The next has run for 5.
TEST_F(SchedulerCoreTest, ExpectsQueuedJobsToStartWhenThoseAheadRanAsLongAsTheLastOnes) {
  Make({"cpu"});
  const auto starts_in = [&](const std::string& uid) -> absl::Duration {
    const v1::QueueInfo info = core_->Describe(uid);
    return info.has_estimated_start() ? FromProto(info.estimated_start()) - clock_.Wall()
                                      : absl::InfiniteDuration();
  };
  int minutes = 10;
  for (const char* uid : {"a", "b"}) {
    Queue(uid);
    Queue("z");
    Step();
    Run(uid);
    if (uid[0] == 'a') {
      EXPECT_EQ(starts_in("z"), absl::InfiniteDuration());
    }
    Set("z", v1::CANCELLED);
    clock_.Advance(absl::Minutes(std::exchange(minutes, 20)));
    EndRun(uid, v1::SUCCEEDED, {.outcome = v1::ATTEMPT_SUCCEEDED});
  }
  for (const char* uid : {"c", "d", "e"}) Queue(uid);
  Step();
  Run("c");
  clock_.Advance(absl::Minutes(5));
  EXPECT_EQ(starts_in("d"), absl::Minutes(10));
  EXPECT_EQ(starts_in("e"), absl::Minutes(25));
  clock_.Advance(absl::Minutes(11));  // longer than expected: nobody knows
  Set("e", v1::CANCELLED);
  EXPECT_EQ(starts_in("d"), absl::InfiniteDuration());
}

TEST_F(SchedulerCoreTest, TellsWhoIsBehindTheFairShare) {
  Make({"cpu"});
  Queue("a", 0, "heavy");
  Step();
  Run("a");
  clock_.Advance(absl::Minutes(30));
  Queue("b", 0, "heavy");
  clock_.Advance(absl::Seconds(2));
  Queue("c", 0, "light");
  EXPECT_EQ(core_->Describe("c").position(), 1);
  EXPECT_EQ(core_->Describe("b").position(), 2);
  EXPECT_EQ(Blocked("b"), v1::FAIR_SHARE);
}

TEST_F(SchedulerCoreTest, TellsPositionsOfTenThousandJobsFromOneSnapshot) {
  Make({"cpu"});
  for (int i = 0; i < 10000; ++i) {
    Queue(absl::StrCat("j", 10000 + i));
    clock_.Advance(absl::Milliseconds(1));
  }
  for (int i = 0; i < 10000; ++i)
    ASSERT_EQ(core_->Describe(absl::StrCat("j", 10000 + i)).position(), i + 1);
}

}  // namespace
}  // namespace adamant
