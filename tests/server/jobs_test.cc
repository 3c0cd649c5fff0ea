// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error_reason.h"
#include "common/files.h"
#include "server/jobs/job_log.h"
#include "tests/support/slowdown.h"
#include "tests/support/workers/job_rig.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using namespace testing;  // NOLINT: the fake tasks

class JobsTest : public ::testing::Test {
 protected:
  std::string Log(const std::string& name) {
    return ReadJobLog(rig_.options.log_folder, name.substr(5), 0, 0, 1 << 20)->bytes;
  }
  v1::SubmitOptions Attempts(int count) {
    v1::SubmitOptions options;
    options.mutable_retry_policy()->set_max_attempts(count);
    return options;
  }

  JobRig rig_;
};

TEST_F(JobsTest, RunsAJobFromSubmitToItsResult) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kSucceed);
  const v1::Job job = rig_.AwaitEnd(name);
  EXPECT_EQ(rig_.States(name), "QUEUED STARTING RUNNING SUCCEEDED");
  EXPECT_EQ(job.result().train().steps(), 10);
  ASSERT_EQ(job.artifacts_size(), 1);
  const auto weights = rig_.blobs().Open(job.artifacts(0).blob());
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ((*FileView::Map(weights->get()))->bytes(), kWeightsText);
  ASSERT_EQ(job.latest_metrics_size(), 1);
  EXPECT_EQ(job.latest_metrics(0).value(), 0.25);
  EXPECT_EQ(job.progress().fraction_ratio(), 0.5);
  EXPECT_EQ(job.attempts(0).outcome(), v1::ATTEMPT_SUCCEEDED);
  EXPECT_EQ(job.attempts(0).sandbox_level(), "none");
  EXPECT_THAT(Log(name), HasSubstr("info a log frame\n"));
  EXPECT_THAT(Log(name), HasSubstr("a line on stdout\n"));
  EXPECT_EQ(job.log_bytes(), static_cast<int64_t>(Log(name).size()));
  const std::vector<v1::JobEvent> events = rig_.Events(name);
  for (size_t i = 0; i < events.size(); ++i)
    EXPECT_EQ(events[i].seq(), static_cast<int64_t>(i) + 1);
  EXPECT_TRUE(events.back().terminal());
}

TEST_F(JobsTest, RegistersTheTrainedModelAndLooksIntoIt) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kSucceed, {}, "net");
  EXPECT_EQ(rig_.AwaitEnd(name).state(), v1::SUCCEEDED);
  const v1::Model model = rig_.AwaitModel(
      "models/net", [](const v1::Model& found) { return found.num_classes() == 10; });
  EXPECT_EQ(model.state(), v1::READY);
  EXPECT_EQ(model.training_job(), name);
  EXPECT_EQ(model.blob().sha256(), rig_.Get(name).result().train().weights().sha256());
}

TEST_F(JobsTest, RetriesALostWorkerOnceAndCountsIt) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kCrashOnce);
  const v1::Job job = rig_.AwaitEnd(name);
  EXPECT_EQ(rig_.States(name),
            "QUEUED STARTING RUNNING RECOVERING QUEUED STARTING RUNNING SUCCEEDED");
  EXPECT_EQ(job.attempt(), 2);
  EXPECT_EQ(job.charged_attempts(), 1);
  EXPECT_EQ(job.attempts(0).outcome(), v1::ATTEMPT_WORKER_LOST);
  EXPECT_TRUE(job.attempts(0).charged());
  EXPECT_GT(job.attempts(1).fence(), job.attempts(0).fence());
}

TEST_F(JobsTest, GivesUpOnAJobThatKillsThreeWorkers) {
  rig_.StartScheduler();
  const v1::Job job = rig_.AwaitEnd(rig_.Submit(kCrash));
  EXPECT_EQ(job.state(), v1::FAILED);
  EXPECT_EQ(job.state_reason(), v1::POISON);
  EXPECT_EQ(job.attempts_size(), 3);
  EXPECT_THAT(job.error().message(), HasSubstr("signal 9"));
}

TEST_F(JobsTest, KillsAWorkerWithoutHeartbeat) {
  rig_.StartScheduler();
  const v1::Job job = rig_.AwaitEnd(rig_.Submit(kNoHeartbeat, Attempts(1)));
  EXPECT_EQ(job.state(), v1::FAILED);
  EXPECT_EQ(job.state_reason(), v1::WORKER_LOST);
  EXPECT_THAT(job.error().message(), HasSubstr("no heartbeat"));
}

TEST_F(JobsTest, ResumesFromThePublishedCheckpoint) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kCheckpointThenCrash);
  const v1::Job job = rig_.AwaitEnd(name);
  EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.error().message();
  EXPECT_TRUE(job.result().train().resumed());
  EXPECT_EQ(job.attempt(), 2);
}

TEST_F(JobsTest, NeverPublishesAnOutputWithAFalseDigest) {
  rig_.StartScheduler();
  const v1::Job job = rig_.AwaitEnd(rig_.Submit(kWrongDigest));
  EXPECT_EQ(job.state(), v1::FAILED);
  EXPECT_EQ(job.error().message(), "refused");
  EXPECT_TRUE(job.artifacts().empty());
  EXPECT_TRUE(rig_.blobs().List(absl::Now())->empty());
}

TEST_F(JobsTest, EndsAJobAsItsWorkerSays) {
  struct Case {
    FakeTask task;
    v1::StateReason reason;
    std::string message;
  };
  rig_.StartScheduler();
  for (const Case& row : {Case{kUserError, v1::MODEL_INCOMPATIBLE, "no such layer"},
                          Case{kOutOfMemory, v1::OUT_OF_MEMORY, "out of memory"},
                          Case{kUnpublishedBlob, v1::WORKER_LOST, "was not published"},
                          Case{kGarbage, v1::WORKER_LOST, "broke the protocol"},
                          Case{kWrongReport, v1::WORKER_LOST, "another kind"}}) {
    const v1::Job job = rig_.AwaitEnd(rig_.Submit(row.task, Attempts(1)));
    EXPECT_EQ(job.state(), v1::FAILED) << row.task;
    EXPECT_EQ(job.state_reason(), row.reason) << row.task;
    EXPECT_THAT(job.error().message(), HasSubstr(row.message)) << row.task;
  }
}

TEST_F(JobsTest, KeepsNoNonFiniteMetricAndWarns) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kNonFinite);
  EXPECT_EQ(rig_.AwaitEnd(name).state(), v1::SUCCEEDED);
  int warnings = 0;
  for (const v1::JobEvent& event : rig_.Events(name)) {
    warnings += event.warning().code() == "NONFINITE_METRIC" ? 1 : 0;
    for (const v1::MetricPoint& point : event.metric().points()) EXPECT_EQ(point.value(), 0.25);
  }
  EXPECT_EQ(warnings, 1);
}

TEST_F(JobsTest, AcknowledgesTheFramesOfAnEagerWorker) {
  rig_.StartScheduler();
  EXPECT_EQ(rig_.AwaitEnd(rig_.Submit(kFlood)).state(), v1::SUCCEEDED);
}

TEST_F(JobsTest, TriesOnceMoreWithHalfTheMicroBatchAndThenSaysWhatWasNeeded) {
  rig_.StartScheduler();
  const v1::Job job = rig_.AwaitEnd(rig_.Submit(kOutOfMemory));  // batch_size 0 = AUTO
  EXPECT_EQ(job.state(), v1::FAILED);
  EXPECT_EQ(job.state_reason(), v1::OUT_OF_MEMORY);
  ASSERT_EQ(job.attempts_size(), 2);
  EXPECT_EQ(job.attempts(0).micro_batch_divisor(), 1);
  EXPECT_EQ(job.attempts(1).micro_batch_divisor(), 2);
  EXPECT_THAT(job.error().message(), HasSubstr("bytes of host memory"));
}

TEST_F(JobsTest, AnAttemptThatCannotRenewItsLeaseIsGivenUpAndTheJobGoesOn) {
  rig_.options.lease_ttl = absl::Milliseconds(1);  // over before it can be renewed
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kWaitForStop);
  const v1::Job job = rig_.Await(name, [](const v1::Job& j) { return j.attempt() >= 2; });
  EXPECT_EQ(job.attempts(0).outcome(), v1::ATTEMPT_FENCED);
  EXPECT_EQ(job.charged_attempts(), 0);
}

TEST_F(JobsTest, ARestartContinuesARunningJobUncharged) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kWaitForStop);
  rig_.AwaitState(name, v1::RUNNING);
  rig_.StopScheduler();  // kills the worker, writes nothing
  rig_.StartScheduler();
  const v1::Job job = rig_.Await(
      name, [](const v1::Job& j) { return j.attempt() == 2 && j.state() == v1::RUNNING; });
  EXPECT_EQ(job.charged_attempts(), 0);
  EXPECT_EQ(job.attempts(0).outcome(), v1::ATTEMPT_SERVER_RESTART);
  EXPECT_EQ(rig_.States(name), "QUEUED STARTING RUNNING RECOVERING QUEUED STARTING RUNNING");
}

TEST_F(JobsTest, ARestartFinishesAPendingCancel) {
  rig_.options.cancel_grace = absl::Hours(1);
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kIgnoreStop);
  rig_.AwaitState(name, v1::RUNNING);
  rig_.Cancel(name);
  rig_.StopScheduler();
  rig_.StartScheduler();
  EXPECT_EQ(rig_.Get(name).state(), v1::CANCELLED);
}

TEST_F(JobsTest, KillsAnAttemptThatLostItsJob) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kWaitForStop);
  rig_.AwaitState(name, v1::RUNNING);
  // Another owner claims the job behind the attempt's back.
  const auto stolen = adamant::Await<v1::Job>([&](auto reply) {
    rig_.store().ChangeJob({name.substr(5),
                            "",
                            std::nullopt,
                            {},
                            [](JobDraft& draft) {
                              LastAttempt(draft.job).set_fence(99);
                              AddEvent(draft, v1::WARNING, absl::Now());
                              return CancelJob(draft, absl::Now());
                            }},
                           reply);
  });
  ASSERT_TRUE(stolen.ok()) << stolen.status();
  // The worker stops as asked; its attempt must not write the end of a job it lost.
  EXPECT_EQ(rig_.AwaitEnd(rig_.Submit(kSucceed)).state(), v1::SUCCEEDED);
  EXPECT_EQ(rig_.Get(name).state(), v1::CANCELLING);
}

TEST_F(JobsTest, WaitsForAModelThatIsBeingValidated) {
  rig_.StartScheduler();
  rig_.Register("good", "");
  v1::JobSpec spec;
  spec.mutable_train()->set_seed(kSucceed);
  spec.mutable_train()->mutable_model()->set_model("models/good");
  const auto submitted = adamant::Await<SubmittedJob>([&](auto reply) {
    rig_.scheduler().Submit(MakeJob(spec, {}, "local", "me", absl::Now()), reply);
  });
  ASSERT_TRUE(submitted.ok()) << submitted.status();
  EXPECT_EQ(rig_.AwaitEnd(submitted->job.name()).state(), v1::SUCCEEDED);
  EXPECT_EQ(rig_.AwaitModel("models/good", [](const auto&) { return true; }).num_classes(), 10);
}

TEST_F(JobsTest, RejectsBadModelsWithTheReason) {
  rig_.options.validation_limit = absl::Seconds(2) * Slowdown();
  rig_.StartScheduler();
  const std::pair<std::string, std::string> rows[] = {
      {kRejectModel, "tensor conv.weight is missing"},
      {kHangModel, "loading took too long"},
      {kCrashModel, "signal 9"},
      {kAbsurdModel, "larger than any device could hold"}};
  for (const auto& [wish, message] : rows) {
    rig_.Register(wish, wish);
    const v1::Model model = rig_.AwaitModel(
        "models/" + wish, [](const v1::Model& found) { return found.state() != v1::VALIDATING; });
    EXPECT_EQ(model.state(), v1::REJECTED) << wish;
    EXPECT_THAT(model.state_message(), HasSubstr(message));
  }
}

TEST_F(JobsTest, FailsAJobWhoseModelIsRejected) {
  rig_.StartScheduler();
  rig_.Register("bad", kRejectModel);
  v1::JobSpec spec;
  spec.mutable_train()->mutable_model()->set_model("models/bad");
  const auto submitted = adamant::Await<SubmittedJob>([&](auto reply) {
    rig_.scheduler().Submit(MakeJob(spec, {}, "local", "me", absl::Now()), reply);
  });
  const v1::Job job = rig_.AwaitEnd(submitted->job.name());
  EXPECT_EQ(job.state(), v1::FAILED);
  EXPECT_EQ(job.state_reason(), v1::MODEL_INCOMPATIBLE);
}

TEST_F(JobsTest, TellsWatchersAndForgetsThemWhenTheyLeave) {
  rig_.StartScheduler();
  const std::string name = rig_.Submit(kWaitForStop);
  std::atomic<int> news{0};
  auto subscription = rig_.hub().Subscribe(name.substr(5), [&] { ++news; });
  EXPECT_EQ(rig_.hub().watchers(), 1);
  rig_.AwaitState(name, v1::RUNNING);
  subscription.reset();
  const int seen = news;
  EXPECT_GT(seen, 0);
  EXPECT_EQ(rig_.hub().watchers(), 0);
  rig_.Cancel(name);
  rig_.AwaitEnd(name);
  EXPECT_EQ(news, seen);
}

}  // namespace
}  // namespace adamant
