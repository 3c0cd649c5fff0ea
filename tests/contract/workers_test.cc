// SPDX-License-Identifier: Apache-2.0
// What users of other systems complained about, of workers and devices (service.md 17).
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "server/jobs/run_observer.h"
#include "tests/support/api/api_rig.h"
#include "tests/support/workers/job_rig.h"

namespace adamant {
namespace {

using namespace testing;  // NOLINT: the fake tasks

// The outcomes of probes, in order.
class Probes : public RunObserver {
 public:
  void OnProbe(const std::string& /*device*/, bool healthy) override {
    absl::MutexLock lock(&mutex_);
    outcomes_.push_back(healthy);
  }
  void AwaitFailure() {
    absl::MutexLock lock(&mutex_);
    const auto failed = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return !outcomes_.empty() && !outcomes_.front();
    };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&failed), absl::Minutes(1)));
  }
  std::vector<bool> outcomes() {
    absl::MutexLock lock(&mutex_);
    return outcomes_;
  }

 private:
  absl::Mutex mutex_;
  std::vector<bool> outcomes_ ABSL_GUARDED_BY(mutex_);
};

// Children of this process.
std::vector<int> Workers() {
  std::vector<int> pids;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream children(task.path() / "children");
    for (int pid; children >> pid;) pids.push_back(pid);
  }
  return pids;
}

// Whether this process holds a file of the blob store open.
bool HoldsABlob() {
  for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(fd.path(), gone).string();
    if (!gone && absl::StrContains(target, "/objects/") && !std::filesystem::is_directory(target))
      return true;
  }
  return false;
}

TEST(T07, ADeviceIsProbedAfterACancelThatHadToKillAndTheNextJobIsRight) {
  Probes probes;
  JobRig rig;
  rig.pool_options.slots = {Slot{.device = "cuda:0", .threads = 1}};
  rig.options.cancel_grace = absl::Milliseconds(50);
  rig.options.kill_grace = absl::Milliseconds(50);
  rig.options.observer = &probes;
  rig.StartScheduler();
  const std::string stuck = rig.Submit(kIgnoreStop);
  rig.AwaitState(stuck, v1::RUNNING);
  rig.Cancel(stuck);
  EXPECT_EQ(rig.AwaitEnd(stuck).state(), v1::CANCELLED);
  const v1::Job next = rig.AwaitEnd(rig.Submit(kSucceed));
  EXPECT_EQ(next.state(), v1::SUCCEEDED);
  EXPECT_EQ(next.result().train().weights().size_bytes(), std::string(kWeightsText).size());
  EXPECT_EQ(probes.outcomes(), std::vector<bool>{true});
}

TEST(T08, AFaultyDeviceTakesNoJobUntilAProbePasses) {
  const TemporaryFolder folder;
  const std::string broken = folder.path() + "/broken";
  std::ofstream(broken) << "yes";
  Probes probes;
  JobRig rig;
  rig.pool_options.slots = {Slot{.device = absl::StrCat(kBrokenWhile, broken), .threads = 1}};
  rig.options.retry_base = absl::Milliseconds(1);
  rig.options.observer = &probes;
  rig.StartScheduler();
  const std::string name = rig.Submit(kDeviceFaultOnce);
  const v1::Job lost = rig.Await(
      name, [](const v1::Job& job) { return job.state() == v1::QUEUED && job.attempt() == 1; });
  EXPECT_EQ(lost.attempts(0).outcome(), v1::ATTEMPT_DEVICE_FAULT);
  probes.AwaitFailure();
  EXPECT_NE(rig.scheduler().status().slots[0].unhealthy(), "");
  EXPECT_EQ(rig.Get(name).attempt(), 1);
  std::filesystem::remove(broken);
  const v1::Job done = rig.AwaitEnd(name);
  EXPECT_EQ(done.state(), v1::SUCCEEDED);
  EXPECT_EQ(done.attempt(), 2);
  EXPECT_TRUE(probes.outcomes().back());
}

TEST(T11, NothingOfAModelStaysOpenAfterItsAttempt) {
  JobRig rig;
  rig.pool_options.warm_spares = 0;
  rig.StartScheduler();
  const std::string name = rig.Submit(kSucceed);
  EXPECT_EQ(rig.AwaitEnd(name).state(), v1::SUCCEEDED);
  EXPECT_TRUE(Workers().empty());
  EXPECT_FALSE(HoldsABlob());
}

TEST(T12, AJobWaitsForTheMemoryThatAnotherHolds) {
  JobRig rig;
  rig.pool_options.slots = {Slot{}, Slot{}};
  rig.options.host_memory_bytes = int64_t{10} << 30;
  rig.StartScheduler();
  v1::SubmitOptions large;
  large.mutable_resources()->set_host_memory_bytes(int64_t{6} << 30);
  const std::string first = rig.Submit(kWaitForStop, large);
  rig.AwaitState(first, v1::RUNNING);
  const std::string second = rig.Submit(kSucceed, large);
  while (rig.Queue(second).blocking_reason() != v1::WAITING_FOR_MEMORY) {
    ASSERT_EQ(rig.Get(second).state(), v1::QUEUED);
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_EQ(rig.AwaitEnd(rig.Submit(kSucceed)).state(), v1::SUCCEEDED);  // a small one passes
  rig.Cancel(first);
  EXPECT_EQ(rig.AwaitEnd(second).state(), v1::SUCCEEDED);
}

// A model is probed for as long as the test lasts, and the store's writer is inside a transaction:
// what GetJob needs of both is nothing.
TEST(T12, GetJobAnswersWhileAModelIsLoadedAndTheStoreWrites) {
  ApiRig rig;
  const std::string name = rig.Submit(kWaitForStop).name();
  rig.jobs.AwaitState(name, v1::RUNNING);
  const std::string model = rig.jobs.Register("slow", kHangModel).name();
  absl::Notification writing;
  absl::Notification answered;
  rig.jobs.store().models().Change(
      "local", model,
      [&](v1::Model& stored) {
        EXPECT_EQ(stored.state(), v1::VALIDATING);
        writing.Notify();
        answered.WaitForNotification();
      },
      [](const absl::StatusOr<v1::Model>&) {});
  writing.WaitForNotification();
  for (int i = 0; i < 100; ++i) {
    v1::GetJobRequest request;
    request.set_name(name);
    v1::Job job;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const grpc::Status status = rig.robustness->GetJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    if (!status.ok()) break;
    EXPECT_EQ(job.state(), v1::RUNNING);
  }
  answered.Notify();
  rig.jobs.Cancel(name);
  EXPECT_EQ(rig.jobs.AwaitEnd(name).state(), v1::CANCELLED);
}

}  // namespace
}  // namespace adamant
