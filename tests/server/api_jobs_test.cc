// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <chrono>
#include <thread>

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
      if (event.type() != v1::SNAPSHOT && event.type() != v1::PROGRESS) seqs.push_back(event.seq());
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

TEST_F(ApiJobsTest, SaysWhatIsNotServed) {
  v1::Job job;
  grpc::ClientContext context;
  const grpc::Status status = rig_.robustness->PauseJob(&context, {}, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Reason(status), "NOT_SERVED");
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

}  // namespace
}  // namespace adamant
