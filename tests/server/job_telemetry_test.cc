// SPDX-License-Identifier: Apache-2.0
#include "server/job_telemetry.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/jobs/job.h"
#include "server/telemetry/log.h"
#include "tests/support/exposition.h"

namespace adamant {
namespace {

using ::adamant::testing::Exposition;

// A job whose commits the test makes by hand; its clock begins at 1000 s.
class FollowedJob {
 public:
  FollowedJob(JobTelemetry& telemetry, v1::JobKind kind) : telemetry_(telemetry) {
    job_.set_name(absl::StrCat("jobs/", v1::JobKind_Name(kind)));
    job_.set_kind(kind);
    job_.mutable_queue_time()->set_seconds(1000);
  }

  v1::Job& job() { return job_; }

  void Move(v1::JobState to, int64_t seconds, v1::StateReason reason = {}) {
    v1::JobEvent event = Event(seconds);
    v1::StateEvent& change = *event.mutable_state();
    change.set_from(job_.state());
    change.set_to(to);
    change.set_reason(reason);
    job_.set_state(to);
    job_.set_state_reason(reason);
    if (to == v1::STARTING) {
      job_.set_attempt(job_.attempt() + 1);
      job_.add_attempts()->set_number(job_.attempt());
      if (!job_.has_start_time()) job_.mutable_start_time()->set_seconds(seconds);
    }
    if (IsTerminal(to)) {
      job_.mutable_end_time()->set_seconds(seconds);
      event.set_terminal(true);
    }
    telemetry_.OnJob(job_, {event});
  }

  void Report(int64_t step, const std::map<std::string, double>& values) {
    v1::JobEvent event = Event(2000);
    for (const auto& [name, value] : values) {
      v1::MetricPoint& point = *event.mutable_metric()->add_points();
      point.set_name(name);
      point.set_step(step);
      point.set_value(value);
    }
    telemetry_.OnJob(job_, {event});
  }

 private:
  v1::JobEvent Event(int64_t seconds) const {
    v1::JobEvent event;
    event.set_attempt(job_.attempt());
    event.mutable_time()->set_seconds(seconds);
    return event;
  }

  JobTelemetry& telemetry_;
  v1::Job job_;
};

class JobTelemetryTest : public ::testing::Test {
 protected:
  JobTelemetryTest() { EXPECT_TRUE(SetUpLog("error", "text").ok()); }

  FollowedJob Train() {
    FollowedJob followed(telemetry, v1::TRAIN);
    v1::TrainSpec& spec = *followed.job().mutable_spec()->mutable_train();
    spec.mutable_train()->mutable_builtin()->set_name("shapes");
    spec.set_batch_size(32);
    return followed;
  }

  FollowedJob Attack() {
    FollowedJob followed(telemetry, v1::ATTACK);
    followed.job().mutable_spec()->mutable_attack();
    return followed;
  }

  Exposition Shown() { return Exposition(metrics.Text()); }

  Metrics metrics{{.slots = 2, .attacks = {"pgd", "fgsm"}, .explainers = {"cam", "grad_cam"}}};
  JobTelemetry telemetry{metrics};
};

TEST_F(JobTelemetryTest, FollowsAJobFromItsQueueToItsEnd) {
  FollowedJob train = Train();
  train.Move(v1::QUEUED, 1000);
  train.Move(v1::STARTING, 1007);
  train.Move(v1::RUNNING, 1008);
  train.job().mutable_attempts(0)->set_outcome(v1::ATTEMPT_SUCCEEDED);
  train.job().mutable_result()->mutable_train()->set_steps(10);
  train.Move(v1::SUCCEEDED, 1107);
  const Exposition shown = Shown();
  EXPECT_EQ(shown["adamant_job_queue_wait_seconds_sum{kind=\"train\"}"], 7);
  EXPECT_EQ(shown["adamant_job_run_seconds_sum{kind=\"train\"}"], 100);
  EXPECT_EQ(shown["adamant_job_attempts_total{kind=\"train\",outcome=\"succeeded\"}"], 1);
  EXPECT_EQ(shown["adamant_jobs_finished_total{kind=\"train\",reason=\"\",state=\"succeeded\"}"],
            1);
  EXPECT_EQ(shown["adamant_train_steps_total{dataset_family=\"shapes\"}"], 10);
  EXPECT_EQ(shown["adamant_train_samples_total{dataset_family=\"shapes\"}"], 320);
  EXPECT_EQ(shown["adamant_events_appended_total"], 4);
  MetricsSample sample;
  telemetry.Sample({}, sample);
  EXPECT_EQ((sample.jobs[{v1::TRAIN, v1::SUCCEEDED}]), 1);
  EXPECT_EQ(sample.last_success[v1::TRAIN], 1107);
  telemetry.OnJobGone(train.job());
  MetricsSample later;
  telemetry.Sample({}, later);
  EXPECT_EQ((later.jobs[{v1::TRAIN, v1::SUCCEEDED}]), 0);
}

TEST_F(JobTelemetryTest, CountsStepsWhileTheyAreMadeAndNotTwice) {
  FollowedJob train = Train();
  train.Move(v1::STARTING, 1000);
  train.Report(20, {{"loss", 2.0}, {"attack_seconds", 0.2}, {"data_seconds", 0.004}});
  EXPECT_EQ(Shown()["adamant_train_steps_total{dataset_family=\"shapes\"}"], 20);
  train.Report(50, {{"loss", 1.0}, {"attack_seconds", 0.04}, {"checkpoint_seconds", 3}});
  train.job().mutable_result()->mutable_train()->set_steps(60);
  train.Move(v1::SUCCEEDED, 1100);
  const Exposition shown = Shown();
  EXPECT_EQ(shown["adamant_train_steps_total{dataset_family=\"shapes\"}"], 60);
  EXPECT_EQ(shown["adamant_train_step_seconds_count{phase=\"attack\"}"], 50);
  EXPECT_EQ(shown["adamant_train_step_seconds_bucket{phase=\"attack\",le=\"0.05\"}"], 30);
  EXPECT_NEAR(shown["adamant_train_step_seconds_sum{phase=\"attack\"}"], 20 * 0.2 + 30 * 0.04,
              1e-9);
  EXPECT_EQ(shown["adamant_train_step_seconds_count{phase=\"checkpoint\"}"], 1);
}

TEST_F(JobTelemetryTest, DoesNotCountWhatARestartedServerHasSeenBefore) {
  FollowedJob train = Train();
  train.job().set_attempt(2);
  train.job().set_state(v1::RUNNING);
  train.Report(5000, {{"loss", 1.0}});
  EXPECT_EQ(Shown()["adamant_train_steps_total{dataset_family=\"shapes\"}"], 0);
  train.Report(5010, {{"loss", 1.0}});
  EXPECT_EQ(Shown()["adamant_train_steps_total{dataset_family=\"shapes\"}"], 10);
}

TEST_F(JobTelemetryTest, CountsAttacksWhileTheyRunAndTheRestFromTheReport) {
  FollowedJob attack = Attack();
  attack.Move(v1::STARTING, 1000);
  attack.Report(64, {{"attack_samples.pgd", 64},
                     {"attack_successes.pgd", 10},
                     {"attack_gradient_queries.pgd", 640},
                     {"attack_samples.unknown", 1e300},
                     {"attack_samples.fgsm", -5}});
  EXPECT_EQ(Shown()["adamant_attack_samples_total{attack=\"pgd\"}"], 64);
  v1::AttackBlock& block = *attack.job().mutable_result()->mutable_attack()->add_attacks();
  block.mutable_attack()->set_name("pgd");
  block.set_attacked(100);
  block.set_broken(12);
  block.set_backwards(1000);
  attack.Move(v1::SUCCEEDED, 1100);
  const Exposition shown = Shown();
  EXPECT_EQ(shown["adamant_attack_samples_total{attack=\"pgd\"}"], 100);
  EXPECT_EQ(shown["adamant_attack_successes_total{attack=\"pgd\"}"], 12);
  EXPECT_EQ(shown["adamant_attack_gradient_queries_total{attack=\"pgd\"}"], 1000);
  EXPECT_EQ(shown["adamant_attack_samples_total{attack=\"fgsm\"}"], 0);
}

TEST_F(JobTelemetryTest, SharesMapsAmongTheExplainers) {
  FollowedJob explain(telemetry, v1::EXPLAIN);
  v1::ExplainSpec& spec = *explain.job().mutable_spec()->mutable_explain();
  spec.add_explainers()->set_name("cam");
  spec.add_explainers()->set_name("grad_cam");
  explain.Move(v1::STARTING, 1000);
  explain.Report(8, {{"explain_maps", 8}});
  explain.job().mutable_result()->mutable_explain()->set_num_maps(12);
  explain.job().mutable_result()->mutable_explain()->set_seconds(2);
  explain.Move(v1::SUCCEEDED, 1100);
  const Exposition shown = Shown();
  EXPECT_EQ(shown["adamant_explain_maps_total{explainer=\"cam\"}"], 6);
  EXPECT_EQ(shown["adamant_explain_maps_total{explainer=\"grad_cam\"}"], 6);
  EXPECT_EQ(shown["adamant_explain_seconds_sum"], 2);
}

TEST_F(JobTelemetryTest, CountsLostWorkersRecoveriesAndNonFiniteLosses) {
  FollowedJob train = Train();
  train.Move(v1::STARTING, 1000);
  train.job().mutable_attempts(0)->set_outcome(v1::ATTEMPT_WORKER_LOST);
  train.Move(v1::RECOVERING, 1010, v1::WORKER_LOST);
  train.Move(v1::QUEUED, 1010, v1::WORKER_LOST);
  train.Move(v1::STARTING, 1020);
  train.job().mutable_attempts(1)->set_outcome(v1::ATTEMPT_NUMERICAL);
  train.Move(v1::FAILED, 1030, v1::NUMERICAL);
  const Exposition shown = Shown();
  EXPECT_EQ(shown["adamant_job_attempts_total{kind=\"train\",outcome=\"worker_lost\"}"], 1);
  EXPECT_EQ(shown["adamant_job_attempts_total{kind=\"train\",outcome=\"error\"}"], 1);
  EXPECT_EQ(shown["adamant_jobs_recovered_total{result=\"requeued\"}"], 1);
  EXPECT_EQ(shown["adamant_nonfinite_losses_total{kind=\"train\"}"], 1);
  EXPECT_EQ(
      shown["adamant_jobs_finished_total{kind=\"train\",reason=\"numerical\",state=\"failed\"}"],
      1);
}

TEST_F(JobTelemetryTest, ShowsWhatEachSlotRunsAndWhoWaitsLongest) {
  FollowedJob train = Train();
  train.Move(v1::STARTING, 1000);
  train.Move(v1::RUNNING, 1001);
  train.Report(1, {{"loss", 0.25}});
  FollowedJob attack = Attack();
  attack.Move(v1::QUEUED, 1000);
  telemetry.OnWorkerStarted("models/m", 0, 17);
  v1::SlotStatus busy, sick;
  busy.set_device("cuda:0");
  busy.set_job(train.job().name());
  sick.set_device("cuda:1");
  sick.set_unhealthy("the probe failed");
  MetricsSample sample;
  telemetry.Sample({busy, sick}, sample);
  EXPECT_EQ((sample.jobs[{v1::TRAIN, v1::RUNNING}]), 1);
  EXPECT_EQ(sample.workers["busy"], 1);
  EXPECT_EQ(sample.workers["service"], 1);
  EXPECT_EQ(sample.oldest_queued[v1::ATTACK], 1000);
  EXPECT_EQ(sample.oldest_queued.count(v1::TRAIN), 0u);
  ASSERT_EQ(sample.slots.size(), 2u);
  EXPECT_EQ(sample.slots[0].kind, "train");
  EXPECT_EQ(sample.slots[0].metrics["loss"], 0.25);
  EXPECT_TRUE(sample.slots[1].kind.empty());
  EXPECT_FALSE(sample.slots[1].healthy);
}

TEST_F(JobTelemetryTest, CountsWhatTheSupervisorTells) {
  telemetry.OnWorkerExited({.job = "jobs/a", .attempt = 1, .cause = "signal"});
  telemetry.OnFirstStep(v1::TRAIN, absl::Milliseconds(300));
  telemetry.OnLeaseRenewed(true);
  telemetry.OnLeaseRenewed(false);
  telemetry.OnFenced();
  const Exposition shown = Shown();
  EXPECT_EQ(shown["adamant_worker_exits_total{cause=\"signal\"}"], 1);
  EXPECT_EQ(shown["adamant_job_start_seconds_bucket{kind=\"train\",le=\"0.25\"}"], 0);
  EXPECT_EQ(shown["adamant_job_start_seconds_bucket{kind=\"train\",le=\"0.5\"}"], 1);
  EXPECT_EQ(shown["adamant_lease_renewals_total{result=\"ok\"}"], 1);
  EXPECT_EQ(shown["adamant_lease_lost_total"], 1);
  EXPECT_EQ(shown["adamant_fenced_writes_rejected_total"], 1);
}

}  // namespace
}  // namespace adamant
