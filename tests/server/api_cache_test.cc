// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/support/api/job_calls.h"
#include "tests/support/blobs/write_call.h"

namespace adamant {
namespace {

using namespace testing;  // NOLINT: the fake tasks

class ApiCacheTest : public JobCalls {
 protected:
  // The job that a submit is answered with, once it has ended.
  v1::Job Run(v1::CacheMode cache, FakeTask task = kSucceed, int64_t steps = 10) {
    v1::TrainJobRequest request = ApiRig::Training(task);
    request.mutable_spec()->set_steps(steps);
    request.mutable_options()->set_cache(cache);
    v1::Job job;
    grpc::ClientContext context;
    const grpc::Status status = rig_.robustness->TrainJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return Wait(job.name());
  }
};

TEST_F(ApiCacheTest, AnswersWithAnEarlierResultOnlyWhenAskedTo) {
  const v1::Job first = Run(v1::CACHE_SKIP);
  EXPECT_TRUE(first.reproducible());
  const v1::Job cached = Run(v1::CACHE_USE);
  EXPECT_EQ(cached.name(), first.name());
  EXPECT_EQ(cached.state(), v1::SUCCEEDED);
  EXPECT_EQ(SampleOf(rig_.metrics.Text(),
                     "adamant_jobs_submitted_total{kind=\"train\",outcome=\"deduplicated\"}"),
            1);
  EXPECT_NE(Run(v1::CACHE_SKIP).name(), first.name());
  const v1::Job refreshed = Run(v1::CACHE_REFRESH);
  EXPECT_NE(refreshed.name(), first.name());
  EXPECT_EQ(Run(v1::CACHE_USE).name(), refreshed.name());  // the newest
}

TEST_F(ApiCacheTest, RunsWhatNoEqualJobHasAnswered) {
  const v1::Job first = Run(v1::CACHE_USE);
  EXPECT_EQ(first.attempt(), 1);  // there was none to use
  EXPECT_NE(Run(v1::CACHE_USE, kSucceed, 11).name(), first.name());
}

TEST_F(ApiCacheTest, DoesNotUseAResultThatIsNotReproducible) {
  const v1::Job first = Run(v1::CACHE_SKIP, kCheckpointThenCrash);
  EXPECT_EQ(first.state(), v1::SUCCEEDED);
  EXPECT_FALSE(first.reproducible());
  EXPECT_EQ(first.reproducible_reason(), "resumed");
  EXPECT_NE(Run(v1::CACHE_USE, kCheckpointThenCrash).name(), first.name());
}

TEST_F(ApiCacheTest, DoesNotUseAJobThatFailed) {
  const v1::Job first = Run(v1::CACHE_SKIP, kUserError);
  EXPECT_NE(Run(v1::CACHE_USE, kUserError).name(), first.name());
}

}  // namespace
}  // namespace adamant
