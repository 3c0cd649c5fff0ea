// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "server/api/submitter.h"
#include "tests/support/api/api_rig.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using namespace testing;  // NOLINT: the fake tasks

constexpr char kRequestId[] = "01234567-89ab-4cde-8f01-23456789abcd";

class ApiJobsTest : public ::testing::Test {
 protected:
  // Every message of a watch until the stream ends.
  std::vector<v1::JobEvent> Watch(const v1::WatchJobRequest& request, grpc::Status& end) {
    grpc::ClientContext context;
    const auto reader = rig_.robustness->WatchJob(&context, request);
    std::vector<v1::JobEvent> events;
    v1::JobEvent event;
    while (reader->Read(&event)) events.push_back(event);
    end = reader->Finish();
    return events;
  }

  std::vector<v1::JobEvent> Watch(const std::string& name, int64_t from_seq = 0) {
    v1::WatchJobRequest request;
    request.set_name(name);
    request.set_from_seq(from_seq);
    grpc::Status end;
    std::vector<v1::JobEvent> events = Watch(request, end);
    EXPECT_TRUE(end.ok()) << end.error_message();
    return events;
  }

  static std::vector<int64_t> Sequence(const std::vector<v1::JobEvent>& events) {
    std::vector<int64_t> seqs;
    for (const v1::JobEvent& event : events) {
      if (event.seq() > 0 && event.type() != v1::BOOKMARK) seqs.push_back(event.seq());
    }
    return seqs;
  }

  v1::Job Wait(const std::string& name, int64_t seconds = 60) {
    v1::WaitJobRequest request;
    request.set_name(name);
    request.mutable_timeout()->set_seconds(seconds);
    v1::Job job;
    grpc::ClientContext context;
    const grpc::Status status = rig_.robustness->WaitJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }

  std::string ReadLog(const v1::ReadLogRequest& request, grpc::Status& end) {
    grpc::ClientContext context;
    const auto reader = rig_.robustness->ReadLog(&context, request);
    std::string text;
    v1::ReadLogResponse chunk;
    while (reader->Read(&chunk)) text += chunk.data();
    end = reader->Finish();
    return text;
  }

  grpc::Status Cancel(const std::string& name, v1::Job& job) {
    v1::JobVerbRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    return rig_.robustness->CancelJob(&context, request, &job);
  }

  ApiRig rig_;
};

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

TEST_F(ApiJobsTest, WatchesFromASnapshotToTheTerminalEvent) {
  const v1::Job job = rig_.Submit(kSucceed);
  const std::vector<v1::JobEvent> events = Watch(job.name(), 1);
  ASSERT_GE(events.size(), 5u);
  EXPECT_EQ(events[0].type(), v1::SNAPSHOT);
  EXPECT_EQ(events[0].snapshot().name(), job.name());
  const std::vector<int64_t> seqs = Sequence(events);
  for (size_t i = 0; i < seqs.size(); ++i) EXPECT_EQ(seqs[i], static_cast<int64_t>(i) + 1);
  for (size_t i = 0; i + 1 < events.size(); ++i) EXPECT_FALSE(events[i].terminal());
  EXPECT_TRUE(events.back().terminal());
  EXPECT_EQ(events.back().state().to(), v1::SUCCEEDED);
}

TEST_F(ApiJobsTest, WatchesWhileTheJobRuns) {
  const v1::Job job = rig_.Submit(kWaitForStop);
  std::thread canceller([&] {
    rig_.jobs.AwaitState(job.name(), v1::RUNNING);
    v1::Job cancelled;
    EXPECT_TRUE(Cancel(job.name(), cancelled).ok());
  });
  const std::vector<v1::JobEvent> events = Watch(job.name());
  canceller.join();
  EXPECT_EQ(events.front().type(), v1::SNAPSHOT);
  EXPECT_EQ(events.back().state().to(), v1::CANCELLED);
  EXPECT_TRUE(events.back().terminal());
}

TEST_F(ApiJobsTest, SendsProgressWhileNothingDurableHappens) {
  const v1::Job job = rig_.Submit(kWaitForStop);
  v1::WatchJobRequest request;
  request.set_name(job.name());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto reader = rig_.robustness->WatchJob(&context, request);
  v1::JobEvent event;
  bool progress = false;
  while (!progress && reader->Read(&event)) progress = event.type() == v1::PROGRESS;
  EXPECT_TRUE(progress);
  context.TryCancel();
  reader->Finish();
  v1::Job cancelled;
  EXPECT_TRUE(Cancel(job.name(), cancelled).ok());
}

TEST_F(ApiJobsTest, SendsTheTerminalEventAgainForAJobThatHasEnded) {
  const v1::Job job = Wait(rig_.Submit(kSucceed).name());
  for (const int64_t from : {int64_t{0}, job.last_event_seq()}) {
    const std::vector<v1::JobEvent> events = Watch(job.name(), from);
    ASSERT_EQ(events.size(), 2u) << from;
    EXPECT_EQ(events[0].type(), v1::SNAPSHOT);
    EXPECT_EQ(events[0].snapshot().state(), v1::SUCCEEDED);
    EXPECT_TRUE(events[1].terminal());
  }
}

TEST_F(ApiJobsTest, ResumesAWatchBehindTheGivenEvent) {
  const v1::Job job = Wait(rig_.Submit(kSucceed).name());
  const std::vector<int64_t> seqs = Sequence(Watch(job.name(), 2));
  ASSERT_FALSE(seqs.empty());
  EXPECT_EQ(seqs.front(), 3);
  EXPECT_EQ(seqs.back(), job.last_event_seq());
}

TEST_F(ApiJobsTest, FiltersTypesButNeverTheEnd) {
  const v1::Job job = Wait(rig_.Submit(kSucceed).name());
  v1::WatchJobRequest request;
  request.set_name(job.name());
  request.set_from_seq(1);
  request.add_types(v1::METRIC);
  grpc::Status end;
  const std::vector<v1::JobEvent> events = Watch(request, end);
  EXPECT_TRUE(end.ok());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[1].type(), v1::METRIC);
  EXPECT_TRUE(events[2].terminal());
}

TEST_F(ApiJobsTest, RefusesWatchesOfNothing) {
  v1::WatchJobRequest request;
  grpc::Status end;
  request.set_name("jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa");
  Watch(request, end);
  EXPECT_EQ(Reason(end), "JOB_NOT_FOUND");
  request.set_name(rig_.Submit(kSucceed).name());
  request.set_from_seq(1000);
  Watch(request, end);
  EXPECT_EQ(Reason(end), "BAD_SEQ");
}

TEST_F(ApiJobsTest, SaysGoodbyeToWatchersWhenTheServerDrains) {
  const v1::Job job = rig_.Submit(kWaitForStop);
  rig_.jobs.AwaitState(job.name(), v1::RUNNING);
  v1::WatchJobRequest request;
  request.set_name(job.name());
  grpc::ClientContext context;
  const auto reader = rig_.robustness->WatchJob(&context, request);
  v1::JobEvent event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.type(), v1::SNAPSHOT);
  rig_.api->GoAway();
  v1::EventType last = v1::EVENT_TYPE_UNSPECIFIED;
  while (reader->Read(&event)) last = event.type();
  EXPECT_EQ(last, v1::GOING_AWAY);
  EXPECT_EQ(Reason(reader->Finish()), "DRAINING");
}

TEST_F(ApiJobsTest, KeepsAJobWhoseWatcherLeaves) {
  const v1::Job job = rig_.Submit(kWaitForStop);
  {
    v1::WatchJobRequest request;
    request.set_name(job.name());
    grpc::ClientContext context;
    const auto reader = rig_.robustness->WatchJob(&context, request);
    v1::JobEvent event;
    ASSERT_TRUE(reader->Read(&event));
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  rig_.jobs.AwaitState(job.name(), v1::RUNNING);
  v1::Job cancelled;
  EXPECT_TRUE(Cancel(job.name(), cancelled).ok());
  EXPECT_EQ(Wait(job.name()).state(), v1::CANCELLED);
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

TEST_F(ApiJobsTest, RefusesSubmitsWhileDrainingButAnswersReads) {
  const v1::Job before = Wait(rig_.Submit(kSucceed).name());
  rig_.jobs.scheduler().StopAdmission();
  v1::Job job;
  grpc::ClientContext context;
  const grpc::Status status = rig_.robustness->TrainJob(&context, ApiRig::Training(kSucceed), &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Reason(status), "DRAINING");
  v1::GetJobRequest get;
  get.set_name(before.name());
  grpc::ClientContext get_context;
  EXPECT_TRUE(rig_.robustness->GetJob(&get_context, get, &job).ok());
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

TEST_F(ApiJobsTest, RetriesAJobThatHasEndedAsANewOneWithMergedOptions) {
  v1::TrainJobRequest request = ApiRig::Training(kUserError);
  request.mutable_options()->set_request_id(kRequestId);
  request.mutable_options()->set_display_name("first");
  request.mutable_options()->set_priority(7);
  v1::Job old;
  grpc::ClientContext contexts[4];
  ASSERT_TRUE(rig_.robustness->TrainJob(&contexts[0], request, &old).ok());
  old = Wait(old.name());
  EXPECT_EQ(old.state(), v1::FAILED);
  v1::RetryJobRequest retry;
  retry.set_name(old.name());
  retry.mutable_options()->set_display_name("second");
  retry.mutable_options()->set_request_id("11234567-89ab-4cde-8f01-23456789abcd");
  v1::Job job;
  const grpc::Status status = rig_.robustness->RetryJob(&contexts[1], retry, &job);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_NE(job.name(), old.name());
  EXPECT_EQ(job.retry_of(), old.name());
  EXPECT_EQ(job.spec_digest(), old.spec_digest());
  EXPECT_EQ(job.options().display_name(), "second");
  EXPECT_EQ(job.options().priority(), 7);
  v1::Job again;
  ASSERT_TRUE(rig_.robustness->RetryJob(&contexts[2], retry, &again).ok());
  EXPECT_EQ(again.name(), job.name());
  retry.set_name(rig_.Submit(kWaitForStop).name());
  EXPECT_EQ(Reason(rig_.robustness->RetryJob(&contexts[3], retry, &job)), "WRONG_STATE");
}

TEST_F(ApiJobsTest, RetriesOnlyWhileTheInputsAreThere) {
  rig_.jobs.Register("net", "");
  rig_.jobs.AwaitModel("models/net", [](const v1::Model& m) { return m.state() == v1::READY; });
  v1::TrainJobRequest request = ApiRig::Training(kSucceed);
  request.mutable_spec()->mutable_model()->set_model("models/net");
  v1::Job job;
  grpc::ClientContext contexts[3];
  ASSERT_TRUE(rig_.robustness->TrainJob(&contexts[0], request, &job).ok());
  Wait(job.name());
  v1::DeleteModelRequest remove;
  remove.set_name("models/net");
  google::protobuf::Empty nothing;
  ASSERT_TRUE(rig_.models->DeleteModel(&contexts[1], remove, &nothing).ok());
  v1::RetryJobRequest retry;
  retry.set_name(job.name());
  EXPECT_EQ(Reason(rig_.robustness->RetryJob(&contexts[2], retry, &job)), "MODEL_NOT_FOUND");
}

TEST_F(ApiJobsTest, ListsMetricPointsInPages) {
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
TEST_F(ApiJobsTest, PagesAndThinsALongMetricHistory) {
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

TEST_F(ApiJobsTest, DrainsAndUndrains) {
  v1::ServerStatus status;
  grpc::ClientContext contexts[4];
  v1::DrainServerRequest drain;
  EXPECT_EQ(Reason(rig_.system->DrainServer(&contexts[0], drain, &status)), "INVALID_SPEC");
  drain.set_mode(v1::DrainServerRequest::FINISH);
  ASSERT_TRUE(rig_.system->DrainServer(&contexts[1], drain, &status).ok());
  EXPECT_TRUE(status.draining());
  v1::Job job;
  EXPECT_EQ(Reason(rig_.robustness->TrainJob(&contexts[2], ApiRig::Training(kSucceed), &job)),
            "DRAINING");
  ASSERT_TRUE(rig_.system->UndrainServer(&contexts[3], {}, &status).ok());
  EXPECT_FALSE(status.draining());
  EXPECT_EQ(Wait(rig_.Submit(kSucceed).name()).state(), v1::SUCCEEDED);
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

TEST(RetryOptions, KeepsWhatTheRetryDoesNotSet) {
  v1::SubmitOptions old;
  old.set_priority(3);
  old.set_start_paused(true);
  old.set_cache(v1::CACHE_USE);
  old.mutable_queue_timeout()->set_seconds(60);
  (*old.mutable_labels())["a"] = "1";
  v1::SubmitOptions wanted;
  wanted.mutable_max_run_time()->set_seconds(5);
  const v1::SubmitOptions merged = RetryOptions(old, wanted);
  EXPECT_EQ(merged.priority(), 3);
  EXPECT_FALSE(merged.start_paused());
  EXPECT_EQ(merged.cache(), v1::CACHE_MODE_UNSPECIFIED);
  EXPECT_EQ(merged.queue_timeout().seconds(), 60);
  EXPECT_EQ(merged.max_run_time().seconds(), 5);
  EXPECT_EQ(merged.labels().at("a"), "1");
}

}  // namespace
}  // namespace adamant
