// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/support/api/job_calls.h"

namespace adamant {
namespace {

using namespace testing;  // NOLINT: the fake tasks

class ApiMetricPointsTest : public JobCalls {};

TEST_F(ApiMetricPointsTest, ListsMetricPointsInPages) {
  const v1::Job job = Wait(rig_.Submit(kSucceed).name());
  v1::ListMetricPointsRequest request;
  request.set_job(job.name());
  v1::ListMetricPointsResponse page;
  grpc::ClientContext contexts[5];
  ASSERT_TRUE(rig_.robustness->ListMetricPoints(&contexts[0], request, &page).ok());
  ASSERT_EQ(page.points_size(), 1);
  EXPECT_EQ(page.points(0).name(), "loss");
  EXPECT_EQ(page.points(0).value(), 0.25);
  EXPECT_EQ(page.points(0).attempt(), 1);
  EXPECT_EQ(page.next_page_token(), "");
  request.add_names("accuracy");
  ASSERT_TRUE(rig_.robustness->ListMetricPoints(&contexts[1], request, &page).ok());
  EXPECT_EQ(page.points_size(), 0);
  request.set_step_begin(5);
  request.set_step_end(5);
  EXPECT_EQ(Reason(rig_.robustness->ListMetricPoints(&contexts[2], request, &page)),
            "INVALID_SPEC");
  request.clear_step_end();
  request.set_page_token("forged");
  EXPECT_EQ(Reason(rig_.robustness->ListMetricPoints(&contexts[3], request, &page)),
            "BAD_PAGE_TOKEN");
  request.set_job("jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa");
  EXPECT_EQ(Reason(rig_.robustness->ListMetricPoints(&contexts[4], request, &page)),
            "JOB_NOT_FOUND");
}

// Stores METRIC events of two names, two steps each, for a job that waits.
TEST_F(ApiMetricPointsTest, PagesAndThinsALongMetricHistory) {
  const std::string name = rig_.Submit(kWaitForStop).name();
  rig_.jobs.AwaitState(name, v1::RUNNING);
  for (int batch = 0; batch < 10; ++batch) {
    JobChange change{name.substr(5), "", std::nullopt, {}, [batch](JobDraft& draft) {
                       v1::JobEvent& event = AddEvent(draft, v1::METRIC, absl::Now());
                       for (int i = 0; i < 20; ++i) {
                         v1::MetricPoint& point = *event.mutable_metric()->add_points();
                         point.set_name(i % 2 == 0 ? "loss" : "lr");
                         point.set_step(batch * 10 + i / 2);
                         point.set_value(point.step() == 42 ? 1000 : point.step());
                       }
                       return absl::OkStatus();
                     }};
    ASSERT_TRUE(Await<v1::Job>([&](Reply<v1::Job> reply) {
                  rig_.jobs.store().ChangeJob(std::move(change), std::move(reply));
                }).ok());
  }
  const auto list = [&](v1::ListMetricPointsRequest request, int& pages) {
    std::vector<v1::MetricPoint> points;
    request.set_job(name);
    pages = 0;
    do {
      v1::ListMetricPointsResponse page;
      grpc::ClientContext context;
      EXPECT_TRUE(rig_.robustness->ListMetricPoints(&context, request, &page).ok());
      points.insert(points.end(), page.points().begin(), page.points().end());
      request.set_page_token(page.next_page_token());
      ++pages;
    } while (!request.page_token().empty() && pages < 100);
    return points;
  };
  int pages = 0;
  v1::ListMetricPointsRequest request;
  request.set_page_size(7);
  std::vector<v1::MetricPoint> all = list(request, pages);
  ASSERT_EQ(all.size(), 200u);
  EXPECT_EQ(pages, 29);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].step(), static_cast<int64_t>(i / 2));
  request.add_names("loss");
  request.set_step_begin(10);
  request.set_step_end(30);
  EXPECT_EQ(list(request, pages).size(), 20u);
  request.clear_step_begin();
  request.clear_step_end();
  request.set_max_points(10);
  request.set_page_size(4);
  const std::vector<v1::MetricPoint> thin = list(request, pages);
  ASSERT_LE(thin.size(), 10u);
  EXPECT_EQ(pages, static_cast<int>((thin.size() + 3) / 4));
  EXPECT_EQ(thin.front().step(), 0);
  EXPECT_EQ(thin.back().step(), 99);
  EXPECT_EQ(std::count_if(thin.begin(), thin.end(),
                          [](const v1::MetricPoint& point) { return point.value() == 1000; }),
            1);
  v1::Job cancelled;
  EXPECT_TRUE(Cancel(name, cancelled).ok());
}

}  // namespace
}  // namespace adamant
