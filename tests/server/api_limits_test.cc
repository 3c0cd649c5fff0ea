// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <chrono>

#include "google/rpc/error_details.pb.h"
#include "server/api/call_gate.h"
#include "server/api/rate_limiter.h"
#include "tests/support/api/api_rig.h"

namespace adamant {
namespace {

using namespace testing;  // NOLINT: the fake tasks

const absl::Time kNow = absl::FromUnixSeconds(1700000000);

TEST(RateLimiter, LetsABurstThroughThenTheRate) {
  RateLimiter limiter(2, 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limiter.Take("a", kNow), absl::ZeroDuration());
  EXPECT_EQ(limiter.Take("a", kNow), absl::Milliseconds(500));
  EXPECT_EQ(limiter.Take("b", kNow), absl::ZeroDuration());
  EXPECT_EQ(limiter.Take("a", kNow + absl::Milliseconds(500)), absl::ZeroDuration());
  EXPECT_GT(limiter.Take("a", kNow + absl::Milliseconds(500)), absl::ZeroDuration());
  EXPECT_EQ(limiter.Take("a", kNow - absl::Hours(1)), absl::Milliseconds(500));  // clock went back
}

TEST(RateLimiter, HasNoLimitAtRateZero) {
  RateLimiter limiter(0, 0);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(limiter.Take("a", kNow), absl::ZeroDuration());
}

TEST(RateLimiter, ForgetsWhoHasBeenQuiet) {
  RateLimiter limiter(1, 2);
  for (int i = 0; i < 3000; ++i) limiter.Take(std::to_string(i), kNow);
  limiter.Take("last", kNow + absl::Seconds(10));
  EXPECT_EQ(limiter.size(), 1u);
}

TEST(CallGate, CountsTheMemoryOfCallsInFlight) {
  Timers timers;
  ApiLimits limits;
  limits.call_memory_bytes = 100;
  CallGate gate(limits, timers);
  EXPECT_TRUE(gate.Reserve(60).ok());
  const absl::Status full = gate.Reserve(60);
  EXPECT_EQ(ReasonOf(full), "MEMORY_FULL");
  EXPECT_TRUE(full.GetPayload("type.googleapis.com/google.rpc.RetryInfo").has_value());
  EXPECT_EQ(gate.reserved_bytes(), 60);
  gate.Release(60);
  EXPECT_TRUE(gate.Reserve(100).ok());
}

TEST(CallGate, TakesTheHostOfAPeerForItsRate) {
  Timers timers;
  ApiLimits limits;
  limits.rpc_starts_per_second = 1;
  limits.rpc_burst = 1;
  CallGate gate(limits, timers);
  EXPECT_TRUE(gate.Start("ipv4:192.0.2.1:5000", kNow).ok());
  const absl::Status refused = gate.Start("ipv4:192.0.2.1:5001", kNow);
  EXPECT_EQ(ReasonOf(refused), "RATE_LIMITED");
  const auto payload = refused.GetPayload("type.googleapis.com/google.rpc.RetryInfo");
  ASSERT_TRUE(payload.has_value());
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(retry.ParseFromString(std::string(*payload)));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_TRUE(gate.Start("ipv4:192.0.2.2:5000", kNow).ok());
}

grpc::Status Get(ApiRig& rig, const std::string& name, v1::Job& job) {
  v1::GetJobRequest request;
  request.set_name(name);
  grpc::ClientContext context;
  return rig.robustness->GetJob(&context, request, &job);
}

TEST(ApiLimitsTest, RefusesCallsAboveTheRateAndDoesNothingForThem) {
  ApiRigOptions options;
  options.limits.rpc_starts_per_second = 0.001;
  options.limits.rpc_burst = 2;
  ApiRig rig(options);
  const v1::Job job = rig.Submit(kSucceed);
  v1::Job got;
  EXPECT_TRUE(Get(rig, job.name(), got).ok());
  EXPECT_EQ(Reason(Get(rig, job.name(), got)), "RATE_LIMITED");
  v1::Job refused;
  grpc::ClientContext context;
  EXPECT_EQ(Reason(rig.robustness->TrainJob(&context, ApiRig::Training(kSucceed), &refused)),
            "RATE_LIMITED");
  grpc::ClientContext watch_context;
  v1::WatchJobRequest watch;
  watch.set_name(job.name());
  EXPECT_EQ(Reason(rig.robustness->WatchJob(&watch_context, watch)->Finish()), "RATE_LIMITED");
  rig.jobs.AwaitEnd(job.name());
  const auto count =
      Await<int64_t>([&](Reply<int64_t> reply) { rig.jobs.store().CountJobs(std::move(reply)); });
  EXPECT_EQ(*count, 1);
}

TEST(ApiLimitsTest, RefusesSubmitsAboveTheirRate) {
  ApiRigOptions options;
  options.limits.submits_per_second = 0.001;
  options.limits.submit_burst = 1;
  ApiRig rig(options);
  const v1::Job job = rig.Submit(kSucceed);
  v1::Job refused;
  grpc::ClientContext context;
  EXPECT_EQ(Reason(rig.robustness->TrainJob(&context, ApiRig::Training(kSucceed), &refused)),
            "RATE_LIMITED");
  EXPECT_TRUE(Get(rig, job.name(), refused).ok());
  rig.jobs.AwaitEnd(job.name());
}

TEST(ApiLimitsTest, RefusesCallsThatDoNotFitIntoTheMemory) {
  ApiRigOptions options;
  options.limits.call_memory_bytes = 100000;
  ApiRig rig(options);
  v1::Job job;
  EXPECT_EQ(Reason(Get(rig, "jobs/none", job)), "JOB_NOT_FOUND");
  EXPECT_EQ(Reason(Get(rig, std::string(200000, 'x'), job)), "MEMORY_FULL");
  EXPECT_EQ(Reason(Get(rig, "jobs/none", job)), "JOB_NOT_FOUND");  // it was given back
}

// A store that never answers is played by a pool whose threads are busy.
TEST(ApiLimitsTest, EndsUnaryCallsWithoutADeadline) {
  ApiRigOptions options;
  options.limits.unary_cap = absl::Milliseconds(200);
  ApiRig rig(options);
  absl::Notification over;
  for (int i = 0; i < 2; ++i)
    ASSERT_TRUE(rig.parts().calls.Run([&] { over.WaitForNotification(); }));
  v1::Job job;
  grpc::ClientContext context;
  const grpc::Status status = rig.robustness->TrainJob(&context, ApiRig::Training(kSucceed), &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  over.Notify();
}

TEST(ApiLimitsTest, StatesEveryLimitInTheCapabilities) {
  ApiRigOptions options;
  options.limits.max_watchers = 70;
  ApiRig rig(options);
  v1::Capabilities all;
  grpc::ClientContext contexts[2];
  ASSERT_TRUE(rig.system->GetCapabilities(&contexts[0], {}, &all).ok());
  EXPECT_EQ(all.limits().max_watchers(), 70);
  const google::protobuf::Reflection& reflection = *all.limits().GetReflection();
  const google::protobuf::Descriptor& type = *all.limits().GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i)
    EXPECT_TRUE(reflection.HasField(all.limits(), type.field(i))) << type.field(i)->name();
  v1::GetCapabilitiesRequest again;
  again.set_etag(all.etag());
  v1::Capabilities cached;
  ASSERT_TRUE(rig.system->GetCapabilities(&contexts[1], again, &cached).ok());
  EXPECT_EQ(cached.families_size(), 0);
  EXPECT_EQ(cached.etag(), all.etag());
}

}  // namespace
}  // namespace adamant
