// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <set>

#include "tests/support/api/job_calls.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using namespace testing;  // NOLINT: the fake tasks

constexpr char kRequestId[] = "01234567-89ab-4cde-8f01-23456789abcd";

class ApiJobsTest : public JobCalls {};

TEST_F(ApiJobsTest, SubmitsAFullyDefaultedJobAndWaitsForItsEnd) {
  const v1::Job job = rig_.Submit(kSucceed);
  EXPECT_THAT(job.name(), HasSubstr("jobs/"));
  EXPECT_EQ(job.tenant(), "local");
  const v1::TrainSpec& spec = job.spec().train();
  EXPECT_EQ(spec.objective().name(), "standard");
  EXPECT_EQ(spec.optimizer().lr(), 0.1);
  EXPECT_EQ(spec.train().split(), "train");
  EXPECT_EQ(spec.model().architecture().params().fields().at("width").number_value(), 16);
  EXPECT_EQ(job.options().retry_policy().max_attempts(), 3);
  const v1::Job end = Wait(job.name());
  EXPECT_EQ(end.state(), v1::SUCCEEDED);
  EXPECT_EQ(end.result().train().steps(), 10);
}

TEST_F(ApiJobsTest, ReturnsTheJobAsItIsWhenTheWaitIsOver) {
  const v1::Job job = rig_.Submit(kWaitForStop);
  EXPECT_NE(Wait(job.name(), 0).state(), v1::SUCCEEDED);
  v1::Job cancelled;
  EXPECT_TRUE(Cancel(job.name(), cancelled).ok());
  EXPECT_EQ(Wait(job.name()).state(), v1::CANCELLED);
  EXPECT_TRUE(Cancel(job.name(), cancelled).ok());
}

TEST_F(ApiJobsTest, RefusesToCancelWhatHasSucceeded) {
  const v1::Job job = Wait(rig_.Submit(kSucceed).name());
  v1::Job cancelled;
  EXPECT_EQ(Reason(Cancel(job.name(), cancelled)), "WRONG_STATE");
}

TEST_F(ApiJobsTest, AnswersTheSameRequestIdWithTheSameJob) {
  v1::TrainJobRequest request = ApiRig::Training(kSucceed);
  request.mutable_options()->set_request_id(kRequestId);
  v1::Job first;
  v1::Job second;
  grpc::ClientContext contexts[3];
  ASSERT_TRUE(rig_.robustness->TrainJob(&contexts[0], request, &first).ok());
  ASSERT_TRUE(rig_.robustness->TrainJob(&contexts[1], request, &second).ok());
  EXPECT_EQ(first.name(), second.name());
  EXPECT_FALSE(first.options().has_max_run_time());
  EXPECT_EQ(first.options().request_id(), "");
  request.mutable_spec()->set_steps(11);
  EXPECT_EQ(Reason(rig_.robustness->TrainJob(&contexts[2], request, &second)),
            "REQUEST_ID_CONFLICT");
}

TEST_F(ApiJobsTest, StoresNothingWhenItOnlyValidates) {
  v1::TrainJobRequest request = ApiRig::Training(kSucceed);
  request.mutable_options()->set_validate_only(true);
  v1::Job job;
  grpc::ClientContext context;
  ASSERT_TRUE(rig_.robustness->TrainJob(&context, request, &job).ok());
  EXPECT_EQ(job.name(), "");
  EXPECT_EQ(job.spec().train().batch_size(), 0);
  v1::ListJobsResponse list;
  grpc::ClientContext list_context;
  ASSERT_TRUE(rig_.robustness->ListJobs(&list_context, {}, &list).ok());
  EXPECT_EQ(list.jobs_size(), 0);
}

TEST_F(ApiJobsTest, ListsPagesNewestFirstWithoutRepeats) {
  std::set<std::string> submitted;
  for (int i = 0; i < 5; ++i) submitted.insert(rig_.Submit(kSucceed).name());
  std::set<std::string> listed;
  v1::ListJobsRequest request;
  request.set_page_size(2);
  request.set_filter("kind = TRAIN");
  do {
    v1::ListJobsResponse page;
    grpc::ClientContext context;
    ASSERT_TRUE(rig_.robustness->ListJobs(&context, request, &page).ok());
    EXPECT_LE(page.jobs_size(), 2);
    for (const v1::Job& job : page.jobs()) EXPECT_TRUE(listed.insert(job.name()).second);
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(listed, submitted);
  request.set_page_token("forged");
  v1::ListJobsResponse page;
  grpc::ClientContext context;
  EXPECT_EQ(Reason(rig_.robustness->ListJobs(&context, request, &page)), "BAD_PAGE_TOKEN");
}

TEST_F(ApiJobsTest, ReadsTheLogOfAnEndedJob) {
  const v1::Job job = Wait(rig_.Submit(kSucceed).name());
  v1::ReadLogRequest request;
  grpc::Status end;
  request.set_name(job.name());
  request.set_follow(true);
  const std::string all = ReadLog(request, end);
  EXPECT_TRUE(end.ok()) << end.error_message();
  EXPECT_THAT(all, HasSubstr("a line on stdout\n"));
  EXPECT_EQ(static_cast<int64_t>(all.size()), job.log_bytes());
  request.set_offset(5);
  EXPECT_EQ(ReadLog(request, end), all.substr(5));
  request.set_limit_bytes(3);
  EXPECT_EQ(ReadLog(request, end), all.substr(5, 3));
  request.clear_limit_bytes();
  request.set_offset(100000);
  ReadLog(request, end);
  EXPECT_EQ(Reason(end), "BAD_OFFSET");
  request.clear_offset();
  request.set_tail_lines(1);
  const size_t last_line = all.rfind('\n', all.size() - 2);
  EXPECT_EQ(ReadLog(request, end),
            last_line == std::string::npos ? all : all.substr(last_line + 1));
}

TEST_F(ApiJobsTest, FollowsTheLogUntilTheJobEnds) {
  const v1::Job job = rig_.Submit(kSucceed);
  v1::ReadLogRequest request;
  grpc::Status end;
  request.set_name(job.name());
  request.set_follow(true);
  EXPECT_THAT(ReadLog(request, end), HasSubstr("a line on stdout\n"));
  EXPECT_TRUE(end.ok()) << end.error_message();
}

TEST_F(ApiJobsTest, CountsCallsByCode) {
  v1::Job job;
  grpc::ClientContext context;
  v1::GetJobRequest get;
  get.set_name("jobs/none");
  EXPECT_EQ(Reason(rig_.robustness->GetJob(&context, get, &job)), "JOB_NOT_FOUND");
  EXPECT_THAT(rig_.metrics.Text(),
              HasSubstr("grpc_server_handled_total{grpc_code=\"NotFound\",grpc_method=\"GetJob\""));
}

TEST_F(ApiJobsTest, FiltersByLabelRequestIdAndRetry) {
  v1::TrainJobRequest request = ApiRig::Training(kSucceed);
  request.mutable_options()->set_request_id(kRequestId);
  (*request.mutable_options()->mutable_labels())["team"] = "vision";
  v1::Job job;
  grpc::ClientContext submit;
  ASSERT_TRUE(rig_.robustness->TrainJob(&submit, request, &job).ok());
  rig_.Submit(kSucceed);
  const auto list = [&](const std::string& filter) {
    v1::ListJobsRequest list_request;
    list_request.set_filter(filter);
    v1::ListJobsResponse page;
    grpc::ClientContext context;
    const grpc::Status status = rig_.robustness->ListJobs(&context, list_request, &page);
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::vector<std::string> names;
    for (const v1::Job& one : page.jobs()) names.push_back(one.name());
    return names;
  };
  EXPECT_THAT(list("label.team = vision"), ::testing::ElementsAre(job.name()));
  EXPECT_THAT(list("has(label.team)"), ::testing::ElementsAre(job.name()));
  EXPECT_EQ(list("NOT has(label.team)").size(), 1u);
  EXPECT_THAT(list(std::string("request_id = ") + kRequestId), ::testing::ElementsAre(job.name()));
  EXPECT_EQ(list("request_id != \"other\"").size(), 2u);
  EXPECT_EQ(list("retry_of = " + job.name()).size(), 0u);
}

TEST_F(ApiJobsTest, RefusesSubmitsWhenTheDiskIsFull) {
  rig_.storage = WithReason(absl::ResourceExhaustedError("full"), "STORAGE_FULL");
  v1::Job job;
  grpc::ClientContext context;
  EXPECT_EQ(Reason(rig_.robustness->TrainJob(&context, ApiRig::Training(kSucceed), &job)),
            "STORAGE_FULL");
}

TEST_F(ApiJobsTest, RefusesAStaleEtag) {
  const std::string name = rig_.Submit(kWaitForStop).name();
  const v1::Job job = rig_.jobs.AwaitState(name, v1::RUNNING);
  v1::Job changed;
  using Stub = v1::RobustnessService::Stub;
  EXPECT_EQ(Reason(rig_.Call(&Stub::CancelJob, name, changed, "stale")), "ETAG_MISMATCH");
  EXPECT_TRUE(rig_.Call(&Stub::CancelJob, name, changed, rig_.jobs.Get(name).etag()).ok());
}

}  // namespace
}  // namespace adamant
