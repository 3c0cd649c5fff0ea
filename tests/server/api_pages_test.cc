// SPDX-License-Identifier: Apache-2.0
// Where pages and messages end because of their size.
#include <gmock/gmock.h>

#include "server/jobs/job_log.h"
#include "tests/support/api/job_calls.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using namespace testing;  // NOLINT: the fake tasks

constexpr size_t kLarge = 700 << 10;  // three of them are more than 2 MiB

class ApiPagesTest : public JobCalls {
 protected:
  // A live job whose stored form `apply` has made large.
  std::string Store(const std::function<void(JobDraft&)>& apply) {
    v1::TrainJobRequest request = ApiRig::Training(kSucceed);
    request.mutable_options()->set_start_paused(true);
    v1::Job job;
    grpc::ClientContext context;
    EXPECT_TRUE(rig_.robustness->TrainJob(&context, request, &job).ok());
    JobChange change{job.name().substr(5), "", std::nullopt, {}, [apply](JobDraft& draft) {
                       apply(draft);
                       return absl::OkStatus();
                     }};
    EXPECT_TRUE(Await<v1::Job>([&](Reply<v1::Job> reply) {
                  rig_.jobs.store().ChangeJob(std::move(change), std::move(reply));
                }).ok());
    return job.name();
  }

  // How many entries each page has.
  template <typename Request, typename Response, typename Stub, typename Entries>
  static std::vector<int> Pages(grpc::Status (Stub::*list)(grpc::ClientContext*, const Request&,
                                                           Response*),
                                Stub& stub, Request request, Entries entries) {
    std::vector<int> sizes;
    do {
      Response page;
      grpc::ClientContext context;
      const grpc::Status status = (stub.*list)(&context, request, &page);
      EXPECT_TRUE(status.ok()) << status.error_message();
      sizes.push_back(entries(page));
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty() && sizes.size() < 100);
    return sizes;
  }
};

TEST_F(ApiPagesTest, EndAtTwoMebibytesOfJobs) {
  for (int i = 0; i < 5; ++i) {
    Store(
        [](JobDraft& draft) { draft.job.mutable_error()->set_message(std::string(kLarge, 'e')); });
  }
  const auto count = [](const v1::ListJobsResponse& page) { return page.jobs_size(); };
  EXPECT_THAT(
      Pages(&v1::RobustnessService::Stub::ListJobs, *rig_.robustness, v1::ListJobsRequest(), count),
      ElementsAre(3, 2));
}

TEST_F(ApiPagesTest, EndAtTwoMebibytesOfModelsAndDatasets) {
  for (int i = 0; i < 5; ++i) {
    v1::Model model;
    model.set_name(absl::StrCat("models/m", i));
    model.set_display_name(std::string(kLarge, 'm'));
    const auto same = [](const auto&) { return false; };
    ASSERT_TRUE(Await<v1::Model>([&](Reply<v1::Model> reply) {
                  rig_.jobs.store().models().Put("local", model, same, std::move(reply));
                }).ok());
    v1::Dataset dataset;
    dataset.set_name(absl::StrCat("datasets/d", i));
    dataset.set_display_name(std::string(kLarge, 'd'));
    ASSERT_TRUE(Await<v1::Dataset>([&](Reply<v1::Dataset> reply) {
                  rig_.jobs.store().datasets().Put("local", dataset, same, std::move(reply));
                }).ok());
  }
  EXPECT_THAT(Pages(&v1::ModelService::Stub::ListModels, *rig_.models, v1::ListModelsRequest(),
                    [](const v1::ListModelsResponse& page) { return page.models_size(); }),
              ElementsAre(3, 2));
  EXPECT_THAT(
      Pages(&v1::DatasetService::Stub::ListDatasets, *rig_.datasets, v1::ListDatasetsRequest(),
            [](const v1::ListDatasetsResponse& page) { return page.datasets_size(); }),
      ElementsAre(3, 2));
}

TEST_F(ApiPagesTest, EndAtTwoMebibytesOfMetricPoints) {
  const std::string name = Store([](JobDraft& draft) {
    for (int batch = 0; batch < 5; ++batch) {
      v1::MetricEvent& event = *AddEvent(draft, v1::METRIC, absl::Now()).mutable_metric();
      for (int i = 0; i < 500; ++i) event.add_points()->set_name(std::string(4096, 'p'));
    }
  });
  v1::ListMetricPointsRequest request;
  request.set_job(name);
  request.set_page_size(1000);
  size_t largest = 0;
  const std::vector<int> sizes =
      Pages(&v1::RobustnessService::Stub::ListMetricPoints, *rig_.robustness, request,
            [&](const v1::ListMetricPointsResponse& page) {
              largest = std::max(largest, page.ByteSizeLong());
              return page.points_size();
            });
  EXPECT_THAT(sizes, ElementsAre(600, 600, 600, 600, 100));
  EXPECT_GE(largest, 2u << 20);
  EXPECT_LT(largest, (2u << 20) + (450u << 10));
}

TEST_F(ApiPagesTest, CutALogIntoMessagesOf64Kibibytes) {
  const std::string name = Wait(rig_.Submit(kSucceed).name()).name();
  {
    auto writer = JobLogWriter::Open(rig_.jobs.options.log_folder, name.substr(5), 2);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (int i = 0; i < 200; ++i) (*writer)->Append(std::string(1023, 'l') + "\n");
  }
  v1::ReadLogRequest request;
  request.set_name(name);
  request.set_attempt(2);
  grpc::ClientContext context;
  const auto reader = rig_.robustness->ReadLog(&context, request);
  std::vector<size_t> sizes;
  int64_t next = -1;
  v1::ReadLogResponse chunk;
  while (reader->Read(&chunk)) {
    EXPECT_TRUE(next < 0 || chunk.offset() == next) << chunk.offset();
    next = chunk.offset() + static_cast<int64_t>(chunk.data().size());
    sizes.push_back(chunk.data().size());
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_THAT(sizes, ElementsAre(64 << 10, 64 << 10, 64 << 10, 8 << 10));
}

}  // namespace
}  // namespace adamant
