// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/interactive_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "common/error_reason.h"
#include "tests/support/workers/job_rig.h"

namespace adamant {
namespace {

using testing::JobRig;

// One explanation and what became of it.
class Asked {
 public:
  Asked(InteractivePool& pool, const v1::Model& model, const std::string& image,
        absl::Duration deadline = absl::Seconds(60)) {
    v1::ExplainRequest request;
    request.mutable_spec()->mutable_model()->set_model(model.name());
    request.mutable_spec()->add_explainers()->set_name("grad_cam");
    request.mutable_spec()->add_images()->set_name(image);
    call_ = pool.Explain("local", request, absl::Now() + deadline,
                         [this](absl::StatusOr<v1::ExplainResponse> response) {
                           response_ = std::move(response);
                           done_.Notify();
                         });
  }
  ~Asked() { done_.WaitForNotification(); }

  const absl::StatusOr<v1::ExplainResponse>& response() {
    done_.WaitForNotification();
    return response_;
  }
  InteractiveCall& call() { return *call_; }

 private:
  absl::Notification done_;
  absl::StatusOr<v1::ExplainResponse> response_;
  std::shared_ptr<InteractiveCall> call_;
};

class InteractivePoolTest : public ::testing::Test {
 protected:
  void Start(InteractiveOptions options = {}, int slots = 1) {
    rig_.pool_options.slots.assign(static_cast<size_t>(slots), Slot{});
    rig_.StartScheduler();
    pool_.emplace(rig_.store(), rig_.blobs(), rig_.workers(), rig_.scheduler(), options);
  }
  void TearDown() override { pool_.reset(); }

  v1::Model Register(const std::string& id) {
    rig_.Register(id, "");
    return rig_.AwaitModel("models/" + id,
                           [](const v1::Model& model) { return model.state() == v1::READY; });
  }

  JobRig rig_;
  std::optional<InteractivePool> pool_;
};

TEST_F(InteractivePoolTest, KeepsTheWorkerOfAModelWarm) {
  Start();
  const v1::Model model = Register("net");
  Asked first(*pool_, model, "cat");
  ASSERT_TRUE(first.response().ok()) << first.response().status();
  EXPECT_FALSE(first.response()->warm());
  EXPECT_EQ(first.response()->model_sha256(), model.blob().sha256());
  Asked second(*pool_, model, "dog");
  ASSERT_TRUE(second.response().ok()) << second.response().status();
  EXPECT_TRUE(second.response()->warm());
}

TEST_F(InteractivePoolTest, GivesTheSlotOfAnIdleWorkerToAnotherModel) {
  Start();
  Asked first(*pool_, Register("one"), "cat");
  ASSERT_TRUE(first.response().ok()) << first.response().status();
  Asked second(*pool_, Register("two"), "cat");
  ASSERT_TRUE(second.response().ok()) << second.response().status();
  EXPECT_FALSE(second.response()->warm());
}

TEST_F(InteractivePoolTest, SaysThatNoSlotIsFreeWhileAJobRuns) {
  Start({.slot_wait = absl::Milliseconds(50)});
  const v1::Model model = Register("net");
  const std::string job = rig_.Submit(testing::kWaitForStop);
  rig_.AwaitState(job, v1::RUNNING);
  Asked asked(*pool_, model, "cat");
  EXPECT_EQ(asked.response().status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(asked.response().status()), "NO_INTERACTIVE_SLOT");
  rig_.Cancel(job);
  rig_.AwaitEnd(job);
}

TEST_F(InteractivePoolTest, GivesAnIdleSlotToAQueuedJobAtOnce) {
  Start({.idle_limit = absl::Hours(10)});
  Asked asked(*pool_, Register("net"), "cat");
  ASSERT_TRUE(asked.response().ok()) << asked.response().status();
  const std::string job = rig_.Submit(testing::kSucceed);
  EXPECT_EQ(rig_.AwaitEnd(job).state(), v1::SUCCEEDED);
  EXPECT_EQ(pool_->warm_workers(), 0);
}

TEST_F(InteractivePoolTest, LetsAnIdleWorkerGoWhenItsTimeIsOver) {
  Start({.slot_wait = absl::Seconds(30), .idle_limit = absl::Milliseconds(1)}, 1);
  const v1::Model model = Register("net");
  Asked first(*pool_, model, "cat");
  ASSERT_TRUE(first.response().ok()) << first.response().status();
  const std::string job = rig_.Submit(testing::kSucceed);
  EXPECT_EQ(rig_.AwaitEnd(job).state(), v1::SUCCEEDED);
}

TEST_F(InteractivePoolTest, StopsTheComputationAndKeepsTheWorker) {
  Start();
  const v1::Model model = Register("net");
  {
    Asked slow(*pool_, model, testing::kSlowImage);
    slow.call().Stop(absl::CancelledError("the caller has gone"));
    EXPECT_EQ(slow.response().status().code(), absl::StatusCode::kCancelled);
  }
  Asked again(*pool_, model, "cat");
  ASSERT_TRUE(again.response().ok()) << again.response().status();
}

TEST_F(InteractivePoolTest, EndsAtTheDeadlineAndKeepsTheWorker) {
  Start();
  const v1::Model model = Register("net");
  Asked warm(*pool_, model, "cat");
  ASSERT_TRUE(warm.response().ok()) << warm.response().status();
  Asked slow(*pool_, model, testing::kSlowImage, absl::Milliseconds(100));
  EXPECT_EQ(slow.response().status().code(), absl::StatusCode::kDeadlineExceeded);
  Asked again(*pool_, model, "cat");
  ASSERT_TRUE(again.response().ok()) << again.response().status();
  EXPECT_TRUE(again.response()->warm());
}

TEST_F(InteractivePoolTest, ReplacesAWorkerThatDoesNotStop) {
  Start({.cancel_grace = absl::Milliseconds(100)});
  const v1::Model model = Register("net");
  Asked stuck(*pool_, model, testing::kStuckImage);
  stuck.call().Stop(absl::CancelledError("the caller has gone"));
  EXPECT_EQ(stuck.response().status().code(), absl::StatusCode::kCancelled);
  Asked again(*pool_, model, "cat");
  ASSERT_TRUE(again.response().ok()) << again.response().status();
  EXPECT_FALSE(again.response()->warm());
}

TEST_F(InteractivePoolTest, SaysWhatTheWorkerSaidAndThatItDied) {
  Start();
  const v1::Model model = Register("net");
  Asked bad(*pool_, model, testing::kBadImage);
  EXPECT_EQ(bad.response().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(bad.response().status()), "INVALID_SPEC");
  Asked fatal(*pool_, model, testing::kFatalImage);
  EXPECT_EQ(fatal.response().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(fatal.response().status()), "WORKER_LOST");
  Asked again(*pool_, model, "cat");
  EXPECT_TRUE(again.response().ok()) << again.response().status();
}

// Every explanation is taken to need `bytes`.
InteractiveOptions Needing(int64_t bytes) {
  InteractiveOptions options;
  options.slot_wait = absl::Milliseconds(50);
  options.estimate = [bytes](const v1::JobSpec&, const v1::Model*, const v1::Dataset*) {
    v1::Resources resources;
    resources.set_host_memory_bytes(bytes);
    return resources;
  };
  return options;
}

TEST_F(InteractivePoolTest, KillsAWorkerThatTakesMoreMemoryThanTheModelIsTakenToNeed) {
  Start(Needing(150 << 20));
  const v1::Model model = Register("net");
  Asked large(*pool_, model, testing::kLargeImage);
  EXPECT_EQ(large.response().status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(large.response().status()), "MEMORY_FULL");
  Asked again(*pool_, model, "cat");
  ASSERT_TRUE(again.response().ok()) << again.response().status();
  EXPECT_FALSE(again.response()->warm());
}

TEST_F(InteractivePoolTest, EstimatesWithTheFiguresOfTheModel) {
  std::string asked_of;
  InteractiveOptions options;
  options.estimate = [&](const v1::JobSpec& spec, const v1::Model* model, const v1::Dataset*) {
    asked_of = spec.has_explain() && model != nullptr ? model->name() : "";
    return v1::Resources();
  };
  Start(options);
  Asked asked(*pool_, Register("net"), "cat");
  ASSERT_TRUE(asked.response().ok()) << asked.response().status();
  EXPECT_EQ(asked_of, "models/net");
}

TEST_F(InteractivePoolTest, NeedsMemoryBesideTheJobs) {
  rig_.options.host_memory_bytes = int64_t{1} << 30;
  Start(Needing(600 << 20), 2);
  const v1::Model model = Register("net");
  v1::SubmitOptions options;
  options.mutable_resources()->set_host_memory_bytes(600 << 20);
  const std::string job = rig_.Submit(testing::kWaitForStop, options);
  rig_.AwaitState(job, v1::RUNNING);
  {
    Asked asked(*pool_, model, "cat");
    EXPECT_EQ(ReasonOf(asked.response().status()), "NO_INTERACTIVE_SLOT");
  }
  rig_.Cancel(job);
  rig_.AwaitEnd(job);
  Asked asked(*pool_, model, "cat");
  EXPECT_TRUE(asked.response().ok()) << asked.response().status();
}

TEST_F(InteractivePoolTest, GivesTheMemoryOfAnIdleWorkerToAQueuedJob) {
  rig_.options.host_memory_bytes = int64_t{1} << 30;
  InteractiveOptions patient = Needing(600 << 20);
  patient.idle_limit = absl::Hours(10);
  Start(patient, 2);
  Asked asked(*pool_, Register("net"), "cat");
  ASSERT_TRUE(asked.response().ok()) << asked.response().status();
  v1::SubmitOptions options;
  options.mutable_resources()->set_host_memory_bytes(600 << 20);
  const std::string job = rig_.Submit(testing::kSucceed, options);
  EXPECT_EQ(rig_.AwaitEnd(job).state(), v1::SUCCEEDED);
  EXPECT_EQ(pool_->warm_workers(), 0);
}

TEST_F(InteractivePoolTest, EndsWhatRunsWhenItCloses) {
  Start();
  Asked slow(*pool_, Register("net"), testing::kSlowImage);
  pool_->Close();
  EXPECT_EQ(ReasonOf(slow.response().status()), "DRAINING");
  const std::string job = rig_.Submit(testing::kSucceed);
  EXPECT_EQ(rig_.AwaitEnd(job).state(), v1::SUCCEEDED);
}

}  // namespace
}  // namespace adamant
