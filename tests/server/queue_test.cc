// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/queue.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "server/jobs/job.h"
#include "server/jobs/report_check.h"
#include "server/workers/watchdog.h"
#include "tests/support/workers/virtual_clock.h"

namespace adamant {
namespace {

using testing::VirtualClock;

v1::Job QueuedJob(int priority, int64_t queue_seconds, const std::string& model = "") {
  v1::Job job;
  job.set_tenant("local");
  job.set_state(v1::QUEUED);
  job.mutable_options()->set_priority(priority);
  job.mutable_queue_time()->set_seconds(queue_seconds);
  if (!model.empty()) job.mutable_spec()->mutable_attack()->mutable_model()->set_model(model);
  return job;
}

std::vector<std::string> Uids(const std::vector<JobQueue::Place>& order) {
  std::vector<std::string> uids;
  for (const JobQueue::Place& place : order) uids.push_back(*place.uid);
  return uids;
}

TEST(JobQueue, OrdersByPriorityThenQueueTimeThenUid) {
  VirtualClock clock;
  JobQueue queue(clock);
  queue.Update("d", QueuedJob(0, 10));
  queue.Update("c", QueuedJob(0, 10));
  queue.Update("b", QueuedJob(0, 5));
  queue.Update("a", QueuedJob(1, 1));
  queue.Update("e", QueuedJob(-1, 99));
  EXPECT_EQ(Uids(queue.Order(FairShare({}), clock.Steady())),
            (std::vector<std::string>{"e", "b", "c", "d", "a"}));
}

TEST(JobQueue, TheTenantWithTheLeastUsageGoesFirstExceptBeforeNegativePriorities) {
  VirtualClock clock;
  JobQueue queue(clock);
  FairShare share({{"heavy", 1}, {"light", 1}});
  for (const char* uid : {"h1", "h2"}) {
    v1::Job job = QueuedJob(0, 1);
    job.set_tenant("heavy");
    queue.Update(uid, job);
  }
  v1::Job late = QueuedJob(0, 50);
  late.set_tenant("light");
  queue.Update("l1", late);
  v1::Job urgent = QueuedJob(-5, 99);
  urgent.set_tenant("heavy");
  queue.Update("u", urgent);
  share.Charge("heavy", absl::Minutes(10), clock.Steady());
  const auto order = queue.Order(share, clock.Steady());
  EXPECT_EQ(Uids(order), (std::vector<std::string>{"u", "l1", "h1", "h2"}));
  EXPECT_FALSE(order[1].behind_fair_share);
  EXPECT_TRUE(order[2].behind_fair_share);
}

TEST(JobQueue, TenantsWithEqualUsageTakeTurns) {
  VirtualClock clock;
  JobQueue queue(clock);
  for (const char* uid : {"a1", "a2", "a3"}) {
    v1::Job job = QueuedJob(0, 1);
    job.set_tenant("a");
    queue.Update(uid, job);
  }
  v1::Job other = QueuedJob(0, 9);
  other.set_tenant("b");
  queue.Update("b1", other);
  EXPECT_EQ(Uids(queue.Order(FairShare({}), clock.Steady())),
            (std::vector<std::string>{"a1", "b1", "a2", "a3"}));
}

TEST(FairShare, HalvesUsagePerHourAndDividesByTheWeight) {
  FairShare share({{"double", 2}});
  const absl::Time start = absl::FromUnixSeconds(0);
  share.Charge("double", absl::Seconds(800), start);
  EXPECT_DOUBLE_EQ(share.Usage("double", start), 400);
  EXPECT_DOUBLE_EQ(share.Usage("double", start + absl::Hours(1)), 200);
  EXPECT_DOUBLE_EQ(share.Usage("double", start + absl::Hours(3)), 50);
  share.Charge("double", absl::Seconds(600), start + absl::Hours(2));  // 200 + 600
  EXPECT_DOUBLE_EQ(share.Usage("double", start + absl::Hours(2)), 400);
  EXPECT_DOUBLE_EQ(share.Usage("nobody", start), 0);
}

TEST(JobQueue, CountsWhatIsQueuedPerTenant) {
  VirtualClock clock;
  JobQueue queue(clock);
  v1::Job job = QueuedJob(0, 1);
  queue.Update("a", job);
  queue.Update("a", job);
  EXPECT_EQ(queue.queued("local"), 1);
  job.set_state(v1::RUNNING);
  job.add_attempts();
  queue.Update("a", job);
  EXPECT_EQ(queue.queued(), 0);
  EXPECT_EQ(queue.running(), 1);
  job.set_state(v1::FAILED);
  queue.Update("a", job);
  EXPECT_EQ(queue.running(), 0);
  EXPECT_EQ(queue.Find("a"), nullptr);
}

TEST(JobQueue, AStepOfTheWallClockNeitherHurriesNorStrandsARetry) {
  VirtualClock clock;
  JobQueue queue(clock);
  v1::Job job = QueuedJob(0, absl::ToUnixSeconds(clock.Wall()));
  *job.mutable_retry_time() = ToProto(clock.Wall() + absl::Hours(24));  // written before a jump
  queue.Update("a", job);
  EXPECT_EQ(queue.Find("a")->not_before, clock.Steady() + absl::Seconds(72));
  job.mutable_options()->mutable_queue_timeout()->set_seconds(100);
  clock.JumpWall(-absl::Hours(24));
  queue.Update("b", job);
  EXPECT_EQ(queue.Find("b")->queue_deadline, clock.Steady() + absl::Seconds(100));
}

TEST(JobQueue, WaitsForAValidationAndGivesUpOnARejectedOrMissingInput) {
  VirtualClock clock;
  JobQueue queue(clock);
  queue.Update("a", QueuedJob(0, 1, "models/m"));
  const LiveJob& job = queue.jobs().at("a");
  EXPECT_EQ(queue.CheckInputs(job).kind, Readiness::kImpossible);
  EXPECT_EQ(queue.CheckInputs(job).reason, v1::DEPENDENCY_MISSING);
  queue.SetResource("other", "models/m", v1::READY);  // another tenant's
  EXPECT_EQ(queue.CheckInputs(job).reason, v1::DEPENDENCY_MISSING);
  queue.SetResource("local", "models/m", v1::VALIDATING);
  EXPECT_EQ(queue.CheckInputs(job).kind, Readiness::kWaiting);
  queue.SetResource("local", "models/m", v1::REJECTED);
  EXPECT_EQ(queue.CheckInputs(job).reason, v1::MODEL_INCOMPATIBLE);
  queue.SetResource("local", "models/m", v1::READY);
  EXPECT_EQ(queue.CheckInputs(job).kind, Readiness::kReady);
}

TEST(JobQueue, WaitsForTheTrainingJobWhoseWeightsItUses) {
  VirtualClock clock;
  JobQueue queue(clock);
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
