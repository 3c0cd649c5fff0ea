// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/queue.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "server/jobs/job.h"
#include "server/jobs/report_check.h"
#include "server/workers/watchdog.h"

namespace adamant {
namespace {

v1::Job QueuedJob(int priority, int64_t queue_seconds, const std::string& model = "") {
  v1::Job job;
  job.set_tenant("local");
  job.set_state(v1::QUEUED);
  job.mutable_options()->set_priority(priority);
  job.mutable_queue_time()->set_seconds(queue_seconds);
  if (!model.empty()) job.mutable_spec()->mutable_attack()->mutable_model()->set_model(model);
  return job;
}

TEST(JobQueue, OrdersByPriorityThenQueueTimeThenUid) {
  JobQueue queue;
  queue.Update("d", QueuedJob(0, 10));
  queue.Update("c", QueuedJob(0, 10));
  queue.Update("b", QueuedJob(0, 5));
  queue.Update("a", QueuedJob(1, 1));
  queue.Update("e", QueuedJob(-1, 99));
  EXPECT_EQ(queue.Waiting(), (std::vector<std::string>{"e", "b", "c", "d", "a"}));
}

TEST(JobQueue, TellsPositionAndWhatBlocks) {
  JobQueue queue;
  const absl::Time now = absl::FromUnixSeconds(100);
  queue.Update("a", QueuedJob(0, 1));
  queue.Update("b", QueuedJob(0, 2));
  EXPECT_EQ(queue.Describe("a", false, now).blocking_reason(), v1::WAITING_FOR_SLOT);
  const v1::QueueInfo second = queue.Describe("b", false, now);
  EXPECT_EQ(second.position(), 2);
  EXPECT_EQ(second.jobs_ahead(), 1);
  EXPECT_EQ(second.blocking_reason(), v1::BEHIND_OTHERS);
  EXPECT_EQ(queue.Describe("b", true, now).blocking_reason(), v1::DRAINING);
  queue.jobs().at("a").not_before = now + absl::Seconds(1);
  EXPECT_EQ(queue.Describe("a", false, now).blocking_reason(), v1::BACKOFF);
}

TEST(JobQueue, WaitsForAValidationAndGivesUpOnARejectedOrMissingInput) {
  JobQueue queue;
  queue.Update("a", QueuedJob(0, 1, "models/m"));
  const LiveJob& job = queue.jobs().at("a");
  EXPECT_EQ(queue.CheckInputs(job).kind, Readiness::kImpossible);
  EXPECT_EQ(queue.CheckInputs(job).reason, v1::DEPENDENCY_MISSING);
  queue.SetResource("other", "models/m", v1::READY);  // another tenant's
  EXPECT_EQ(queue.CheckInputs(job).reason, v1::DEPENDENCY_MISSING);
  queue.SetResource("local", "models/m", v1::VALIDATING);
  EXPECT_EQ(queue.CheckInputs(job).kind, Readiness::kWaiting);
  EXPECT_EQ(queue.Describe("a", false, absl::Now()).blocking_reason(), v1::DEPENDENCY);
  queue.SetResource("local", "models/m", v1::REJECTED);
  EXPECT_EQ(queue.CheckInputs(job).reason, v1::MODEL_INCOMPATIBLE);
  queue.SetResource("local", "models/m", v1::READY);
  EXPECT_EQ(queue.CheckInputs(job).kind, Readiness::kReady);
}

TEST(JobQueue, WaitsForTheTrainingJobWhoseWeightsItUses) {
  JobQueue queue;
  const std::string training = NewJobUid();
  v1::Job training_job = QueuedJob(0, 1);
  queue.Update(training, training_job);
  v1::Job job = QueuedJob(0, 2);
  job.mutable_spec()->mutable_attack()->mutable_model()->mutable_checkpoint()->set_job(
      JobName(training));
  queue.Update("b", job);
  EXPECT_EQ(queue.CheckInputs(queue.jobs().at("b")).kind, Readiness::kWaiting);
  training_job.set_state(v1::SUCCEEDED);
  queue.Update(training, training_job);
  EXPECT_EQ(queue.CheckInputs(queue.jobs().at("b")).kind, Readiness::kReady);
}

TEST(Watchdog, BarksAfterFiveSecondsWithoutAHeartbeat) {
  const absl::Time start = absl::FromUnixSeconds(0);
  Watchdog watchdog(start);
  watchdog.Heartbeat(1, start + absl::Seconds(4));
  EXPECT_EQ(watchdog.deadline(), start + absl::Seconds(9));
  EXPECT_EQ(watchdog.Verdict(start + absl::Seconds(8)), "");
  EXPECT_NE(watchdog.Verdict(start + absl::Seconds(9)), "");
}

TEST(Watchdog, BarksWhenHeartbeatsComeWithoutANewStep) {
  const absl::Time start = absl::FromUnixSeconds(0);
  Watchdog watchdog(start);
  for (int second = 0; second <= 60; ++second) watchdog.Heartbeat(7, start + absl::Seconds(second));
  EXPECT_EQ(watchdog.Verdict(start + absl::Seconds(59)), "");
  EXPECT_NE(watchdog.Verdict(start + absl::Seconds(60)), "");
}

TEST(Watchdog, GivesSlowStepsTwentyTimesTheirUsualTime) {
  const absl::Time start = absl::FromUnixSeconds(0);
  Watchdog watchdog(start);
  watchdog.Heartbeat(1, start);
  watchdog.Heartbeat(2, start + absl::Seconds(10));
  for (int second = 11; second <= 209; ++second)
    watchdog.Heartbeat(2, start + absl::Seconds(second));
  EXPECT_EQ(watchdog.Verdict(start + absl::Seconds(209)), "");
  EXPECT_NE(watchdog.Verdict(start + absl::Seconds(210)), "");
}

TEST(ReportCheck, AcceptsOnlyPublishedBlobsFiniteNumbersAndTheRightKind) {
  v1::JobReport report;
  report.mutable_train()->add_evaluations()->set_train_loss(0.5);
  report.mutable_train()->mutable_weights()->set_sha256("aa");
  EXPECT_TRUE(CheckReport(report, v1::TRAIN, {"aa"}).ok());
  EXPECT_FALSE(CheckReport(report, v1::TRAIN, {"bb"}).ok());
  EXPECT_FALSE(CheckReport(report, v1::ATTACK, {"aa"}).ok());
  report.mutable_train()->mutable_evaluations(0)->set_train_loss(
      std::numeric_limits<double>::infinity());
  EXPECT_FALSE(CheckReport(report, v1::TRAIN, {"aa"}).ok());
}

}  // namespace
}  // namespace adamant
