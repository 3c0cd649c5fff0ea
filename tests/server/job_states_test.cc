// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>

#include "common/error_reason.h"
#include "server/jobs/job.h"
#include "server/jobs/outcome.h"

namespace adamant {
namespace {

constexpr v1::JobState kStates[] = {v1::QUEUED, v1::STARTING,   v1::RUNNING,    v1::PAUSING,
                                    v1::PAUSED, v1::CANCELLING, v1::RECOVERING, v1::SUCCEEDED,
                                    v1::FAILED, v1::CANCELLED};

struct Row {
  v1::JobState from;
  std::set<v1::JobState> to;
};

// service.md 3.1, one row per state.
const Row kTable[] = {
    {v1::QUEUED, {v1::STARTING, v1::CANCELLED, v1::PAUSED, v1::FAILED}},
    {v1::PAUSED, {v1::CANCELLED, v1::QUEUED}},
    {v1::STARTING,
     {v1::RUNNING, v1::PAUSING, v1::CANCELLING, v1::SUCCEEDED, v1::FAILED, v1::RECOVERING}},
    {v1::RUNNING, {v1::PAUSING, v1::CANCELLING, v1::SUCCEEDED, v1::FAILED, v1::RECOVERING}},
    {v1::PAUSING, {v1::PAUSED, v1::CANCELLING, v1::SUCCEEDED, v1::RECOVERING}},
    {v1::CANCELLING, {v1::CANCELLED, v1::SUCCEEDED}},
    {v1::RECOVERING, {v1::QUEUED, v1::FAILED, v1::PAUSED, v1::CANCELLED}},
    {v1::SUCCEEDED, {}},
    {v1::FAILED, {}},
    {v1::CANCELLED, {}},
};

JobDraft DraftIn(v1::JobState state) {
  JobDraft draft;
  draft.job.set_name(JobName(NewJobUid()));
  draft.job.set_state(state);
  if (HasWorker(state)) draft.job.add_attempts()->set_fence(1);
  return draft;
}

TEST(JobStates, AllowExactlyTheTransitionsOfTheContract) {
  for (const Row& row : kTable) {
    for (const v1::JobState to : kStates) {
      EXPECT_EQ(CanMove(row.from, to), row.to.count(to) > 0)
          << v1::JobState_Name(row.from) << " -> " << v1::JobState_Name(to);
    }
  }
}

TEST(JobStates, AMoveAppendsOneStateEventAndSetsTheTimes) {
  JobDraft draft = DraftIn(v1::RUNNING);
  const absl::Time now = absl::FromUnixSeconds(1000);
  ASSERT_TRUE(MoveJob(draft, v1::FAILED, v1::NUMERICAL, "NaN", now).ok());
  ASSERT_EQ(draft.events.size(), 1u);
  const v1::JobEvent& event = draft.events[0];
  EXPECT_TRUE(event.terminal());
  EXPECT_EQ(event.fence(), 1);
  EXPECT_EQ(event.state().from(), v1::RUNNING);
  EXPECT_EQ(event.state().to(), v1::FAILED);
  EXPECT_EQ(event.state().reason(), v1::NUMERICAL);
  EXPECT_EQ(draft.job.end_time().seconds(), 1000);
  EXPECT_EQ(draft.job.expire_time().seconds(), 1000 + 30 * 24 * 3600);
}

TEST(JobStates, AForbiddenMoveChangesNothing) {
  JobDraft draft = DraftIn(v1::SUCCEEDED);
  const absl::Status status = MoveJob(draft, v1::QUEUED, {}, "", absl::Now());
  EXPECT_EQ(ReasonOf(status), "WRONG_STATE");
  EXPECT_EQ(draft.job.state(), v1::SUCCEEDED);
  EXPECT_TRUE(draft.events.empty());
}

TEST(JobStates, CancelIsIdempotentAndRefusedAfterTheEnd) {
  const std::pair<v1::JobState, v1::JobState> rows[] = {
      {v1::QUEUED, v1::CANCELLED},      {v1::PAUSED, v1::CANCELLED},
      {v1::STARTING, v1::CANCELLING},   {v1::RUNNING, v1::CANCELLING},
      {v1::PAUSING, v1::CANCELLING},    {v1::RECOVERING, v1::CANCELLED},
      {v1::CANCELLING, v1::CANCELLING}, {v1::CANCELLED, v1::CANCELLED}};
  for (const auto& [from, to] : rows) {
    JobDraft draft = DraftIn(from);
    EXPECT_TRUE(CancelJob(draft, absl::Now()).ok()) << v1::JobState_Name(from);
    EXPECT_EQ(draft.job.state(), to);
    EXPECT_EQ(draft.events.size(), from == to ? 0u : 1u);
  }
  for (const v1::JobState ended : {v1::SUCCEEDED, v1::FAILED}) {
    JobDraft draft = DraftIn(ended);
    EXPECT_EQ(ReasonOf(CancelJob(draft, absl::Now())), "WRONG_STATE");
  }
}

TEST(JobStates, PauseIsIdempotentAndRefusedOnceACancelOrTheEndCame) {
  const std::pair<v1::JobState, v1::JobState> rows[] = {{v1::QUEUED, v1::PAUSED},
                                                        {v1::STARTING, v1::PAUSING},
                                                        {v1::RUNNING, v1::PAUSING},
                                                        {v1::PAUSING, v1::PAUSING},
                                                        {v1::PAUSED, v1::PAUSED}};
  for (const auto& [from, to] : rows) {
    JobDraft draft = DraftIn(from);
    EXPECT_TRUE(PauseJob(draft, absl::Now()).ok()) << v1::JobState_Name(from);
    EXPECT_EQ(draft.job.state(), to);
    EXPECT_EQ(draft.events.size(), from == to ? 0u : 1u);
  }
  for (const v1::JobState state : {v1::CANCELLING, v1::CANCELLED, v1::SUCCEEDED, v1::FAILED}) {
    JobDraft draft = DraftIn(state);
    EXPECT_EQ(ReasonOf(PauseJob(draft, absl::Now())), "WRONG_STATE") << v1::JobState_Name(state);
  }
}

TEST(JobStates, ResumeGivesANewQueueTimeAndKeepsTheCreateTime) {
  JobDraft draft = DraftIn(v1::PAUSED);
  draft.job.mutable_create_time()->set_seconds(5);
  draft.job.mutable_queue_time()->set_seconds(5);
  ASSERT_TRUE(ResumeJob(draft, absl::FromUnixSeconds(70)).ok());
  EXPECT_EQ(draft.job.state(), v1::QUEUED);
  EXPECT_EQ(draft.job.queue_time().seconds(), 70);
  EXPECT_EQ(draft.job.create_time().seconds(), 5);
  for (const v1::JobState state : {v1::QUEUED, v1::STARTING, v1::RUNNING}) {
    draft = DraftIn(state);
    EXPECT_TRUE(ResumeJob(draft, absl::Now()).ok());
    EXPECT_EQ(draft.job.state(), state);
  }
  for (const v1::JobState state :
       {v1::PAUSING, v1::CANCELLING, v1::CANCELLED, v1::SUCCEEDED, v1::FAILED}) {
    draft = DraftIn(state);
    EXPECT_EQ(ReasonOf(ResumeJob(draft, absl::Now())), "WRONG_STATE") << v1::JobState_Name(state);
  }
}

TEST(JobStates, UidsAreTwentySixLettersAndDiffer) {
  const std::string uid = NewJobUid();
  EXPECT_EQ(uid.size(), 26u);
  EXPECT_NE(uid, NewJobUid());
  EXPECT_EQ(*JobUid(JobName(uid)), uid);
  EXPECT_EQ(ReasonOf(JobUid("jobs/UPPER").status()), "JOB_NOT_FOUND");
  EXPECT_EQ(ReasonOf(JobUid(uid).status()), "JOB_NOT_FOUND");
}

v1::Job RunningJob(int charged, std::initializer_list<v1::AttemptOutcome> earlier) {
  v1::Job job;
  job.set_state(v1::RUNNING);
  job.set_charged_attempts(charged);
  for (const v1::AttemptOutcome outcome : earlier) job.add_attempts()->set_outcome(outcome);
  job.add_attempts();
  return job;
}

AttemptEnd EndWith(v1::AttemptOutcome outcome) {
  AttemptEnd end;
  end.outcome = outcome;
  return end;
}

TEST(Outcomes, FollowTheTableOfOutcomeClasses) {
  struct Case {
    v1::AttemptOutcome outcome;
    v1::JobState state;
    v1::StateReason reason;
    bool charged;
  };
  const Case cases[] = {
      {v1::ATTEMPT_SUCCEEDED, v1::SUCCEEDED, v1::STATE_REASON_UNSPECIFIED, false},
      {v1::ATTEMPT_USER_ERROR, v1::FAILED, v1::MODEL_INCOMPATIBLE, false},
      {v1::ATTEMPT_DATA_ERROR, v1::FAILED, v1::DATA_ERROR, false},
      {v1::ATTEMPT_NUMERICAL, v1::FAILED, v1::NUMERICAL, false},
      {v1::ATTEMPT_OUT_OF_MEMORY, v1::QUEUED, v1::OUT_OF_MEMORY, true},
      {v1::ATTEMPT_FENCED, v1::QUEUED, v1::WORKER_LOST, false},
      {v1::ATTEMPT_DEVICE_FAULT, v1::QUEUED, v1::DEVICE_FAULT, true},
      {v1::ATTEMPT_WORKER_LOST, v1::QUEUED, v1::WORKER_LOST, true},
      {v1::ATTEMPT_DRAINED, v1::QUEUED, v1::DRAIN, false},
      {v1::ATTEMPT_SERVER_RESTART, v1::QUEUED, v1::SERVER_RESTART, false},
      {v1::ATTEMPT_TIMEOUT, v1::FAILED, v1::TIMEOUT, false},
      {v1::ATTEMPT_INTERNAL, v1::FAILED, v1::INTERNAL, false},
  };
  for (const Case& row : cases) {
    const Verdict verdict = Judge(RunningJob(0, {}), EndWith(row.outcome), absl::Seconds(1));
    EXPECT_EQ(verdict.state, row.state) << v1::AttemptOutcome_Name(row.outcome);
    EXPECT_EQ(verdict.reason, row.reason) << v1::AttemptOutcome_Name(row.outcome);
    EXPECT_EQ(verdict.charged, row.charged) << v1::AttemptOutcome_Name(row.outcome);
  }
}

TEST(Outcomes, BackOffDoublesPerLostWorkerInARow) {
  v1::Job job = RunningJob(0, {});
  job.mutable_options()->mutable_retry_policy()->set_max_attempts(10);
  const AttemptEnd lost = EndWith(v1::ATTEMPT_WORKER_LOST);
  EXPECT_EQ(Judge(job, lost, absl::Seconds(1)).delay, absl::Seconds(1));
  job = RunningJob(1, {v1::ATTEMPT_WORKER_LOST});
  EXPECT_EQ(Judge(job, lost, absl::Seconds(1)).delay, absl::Seconds(2));
  EXPECT_EQ(Judge(job, lost, absl::Seconds(50)).delay, absl::Seconds(60));
  job = RunningJob(1, {v1::ATTEMPT_WORKER_LOST, v1::ATTEMPT_DRAINED});
  EXPECT_EQ(Judge(job, lost, absl::Seconds(1)).delay, absl::Seconds(1));
}

TEST(Outcomes, ThreeLostWorkersInARowArePoison) {
  v1::Job job = RunningJob(2, {v1::ATTEMPT_WORKER_LOST, v1::ATTEMPT_WORKER_LOST});
  job.mutable_options()->mutable_retry_policy()->set_max_attempts(10);
  const Verdict verdict = Judge(job, EndWith(v1::ATTEMPT_WORKER_LOST), absl::Seconds(1));
  EXPECT_EQ(verdict.state, v1::FAILED);
  EXPECT_EQ(verdict.reason, v1::POISON);
}

TEST(Outcomes, ASpentBudgetOrAnUnlistedClassIsFinal) {
  v1::Job job = RunningJob(0, {});
  job.mutable_options()->mutable_retry_policy()->set_max_attempts(1);
  EXPECT_EQ(Judge(job, EndWith(v1::ATTEMPT_WORKER_LOST), absl::Seconds(1)).state, v1::FAILED);
  job.mutable_options()->mutable_retry_policy()->set_max_attempts(3);
  job.mutable_options()->mutable_retry_policy()->add_classes(v1::DEVICE_FAULT);
  EXPECT_EQ(Judge(job, EndWith(v1::ATTEMPT_WORKER_LOST), absl::Seconds(1)).state, v1::FAILED);
  EXPECT_EQ(Judge(job, EndWith(v1::ATTEMPT_DEVICE_FAULT), absl::Seconds(1)).state, v1::QUEUED);
}

TEST(Outcomes, ACompleteResultWinsOverAPendingCancelEverythingElseIsCancelled) {
  v1::Job job = RunningJob(0, {});
  job.set_state(v1::CANCELLING);
  EXPECT_EQ(Judge(job, EndWith(v1::ATTEMPT_SUCCEEDED), absl::Seconds(1)).state, v1::SUCCEEDED);
  for (const auto outcome : {v1::ATTEMPT_CANCELLED, v1::ATTEMPT_WORKER_LOST, v1::ATTEMPT_USER_ERROR,
                             v1::ATTEMPT_DRAINED}) {
    EXPECT_EQ(Judge(job, EndWith(outcome), absl::Seconds(1)).state, v1::CANCELLED);
  }
}

TEST(Outcomes, MemoryIsRetriedOnceAndOnlyWhenTheBatchIsAuto) {
  v1::Job job = RunningJob(0, {});
  const AttemptEnd end = EndWith(v1::ATTEMPT_OUT_OF_MEMORY);
  EXPECT_EQ(Judge(job, end, absl::Seconds(1)).state, v1::QUEUED);
  job = RunningJob(1, {v1::ATTEMPT_OUT_OF_MEMORY});
  EXPECT_EQ(NextMicroBatchDivisor(job), 2);
  LastAttempt(job).set_micro_batch_divisor(2);
  EXPECT_EQ(Judge(job, end, absl::Seconds(1)).state, v1::FAILED);
  job = RunningJob(0, {});
  job.mutable_spec()->mutable_train()->set_batch_size(64);
  EXPECT_EQ(Judge(job, end, absl::Seconds(1)).state, v1::FAILED);
  EXPECT_EQ(NextMicroBatchDivisor(job), 1);
}

TEST(Outcomes, APendingPauseIsHonouredWhateverEndedTheAttemptExceptAResultOrAUserError) {
  v1::Job job = RunningJob(0, {});
  job.set_state(v1::PAUSING);
  for (const auto outcome : {v1::ATTEMPT_PAUSED, v1::ATTEMPT_DRAINED, v1::ATTEMPT_WORKER_LOST,
                             v1::ATTEMPT_SERVER_RESTART}) {
    const Verdict verdict = Judge(job, EndWith(outcome), absl::Seconds(1));
    EXPECT_EQ(verdict.state, v1::PAUSED) << v1::AttemptOutcome_Name(outcome);
    EXPECT_EQ(verdict.reason, v1::USER_REQUEST);
  }
  EXPECT_EQ(Judge(job, EndWith(v1::ATTEMPT_SUCCEEDED), absl::Seconds(1)).state, v1::SUCCEEDED);
  EXPECT_EQ(Judge(job, EndWith(v1::ATTEMPT_USER_ERROR), absl::Seconds(1)).state, v1::FAILED);
}

TEST(Outcomes, TheBackoffIsKeptInTheJobUntilItStartsAgain) {
  JobDraft draft{RunningJob(0, {}), {}, {}};
  const absl::Time now = absl::FromUnixSeconds(1000);
  const AttemptEnd end = EndWith(v1::ATTEMPT_WORKER_LOST);
  ASSERT_TRUE(EndAttempt(draft, end, Judge(draft.job, end, absl::Seconds(8)), now).ok());
  EXPECT_EQ(draft.job.retry_time().seconds(), 1008);
  ASSERT_TRUE(MoveJob(draft, v1::STARTING, {}, "", now).ok());
  EXPECT_FALSE(draft.job.has_retry_time());
}

TEST(Outcomes, ATakeOverTouchesOnlyTheAttemptWhoseLeaseIsOver) {
  JobDraft draft{RunningJob(0, {}), {}, {}};
  LastAttempt(draft.job).set_fence(3);
  ASSERT_TRUE(TakeOverJob(draft, 2, absl::Now()).ok());
  EXPECT_EQ(draft.job.state(), v1::RUNNING);
  ASSERT_TRUE(TakeOverJob(draft, 3, absl::Now()).ok());
  EXPECT_EQ(draft.job.state(), v1::QUEUED);
  EXPECT_EQ(draft.job.charged_attempts(), 0);
}

TEST(Outcomes, TheTimeWithoutAServerIsNoRunningTime) {
  JobDraft draft{RunningJob(0, {}), {}, {}};
  LastAttempt(draft.job).mutable_start_time()->set_seconds(100);
  draft.job.mutable_update_time()->set_seconds(130);  // the last sign of the attempt
  ASSERT_TRUE(RecoverJob(draft, absl::FromUnixSeconds(9000)).ok());
  EXPECT_EQ(RunTimeSoFar(draft.job), absl::Seconds(30));
}

TEST(Outcomes, ARestartRequeuesCancelsOrPausesButNeverFails) {
  const std::pair<v1::JobState, v1::JobState> rows[] = {{v1::STARTING, v1::QUEUED},
                                                        {v1::RUNNING, v1::QUEUED},
                                                        {v1::PAUSING, v1::PAUSED},
                                                        {v1::CANCELLING, v1::CANCELLED},
                                                        {v1::RECOVERING, v1::QUEUED}};
  for (const auto& [from, to] : rows) {
    JobDraft draft = DraftIn(from);
    ASSERT_TRUE(RecoverJob(draft, absl::Now()).ok()) << v1::JobState_Name(from);
    EXPECT_EQ(draft.job.state(), to) << v1::JobState_Name(from);
    EXPECT_EQ(draft.job.charged_attempts(), 0);
    for (const v1::JobEvent& event : draft.events)
      EXPECT_TRUE(CanMove(event.state().from(), event.state().to()));
  }
}

}  // namespace
}  // namespace adamant
