// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "tests/support/api/job_calls.h"

namespace adamant {
namespace {

using namespace testing;  // NOLINT: the fake tasks

class ApiWatchTest : public JobCalls {};

TEST_F(ApiWatchTest, WatchesFromASnapshotToTheTerminalEvent) {
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

TEST_F(ApiWatchTest, WatchesWhileTheJobRuns) {
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

TEST_F(ApiWatchTest, SendsProgressWhileNothingDurableHappens) {
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

TEST_F(ApiWatchTest, SendsTheTerminalEventAgainForAJobThatHasEnded) {
  const v1::Job job = Wait(rig_.Submit(kSucceed).name());
  for (const int64_t from : {int64_t{0}, job.last_event_seq()}) {
    const std::vector<v1::JobEvent> events = Watch(job.name(), from);
    ASSERT_EQ(events.size(), 2u) << from;
    EXPECT_EQ(events[0].type(), v1::SNAPSHOT);
    EXPECT_EQ(events[0].snapshot().state(), v1::SUCCEEDED);
    EXPECT_TRUE(events[1].terminal());
  }
}

TEST_F(ApiWatchTest, ResumesAWatchBehindTheGivenEvent) {
  const v1::Job job = Wait(rig_.Submit(kSucceed).name());
  const std::vector<int64_t> seqs = Sequence(Watch(job.name(), 2));
  ASSERT_FALSE(seqs.empty());
  EXPECT_EQ(seqs.front(), 3);
  EXPECT_EQ(seqs.back(), job.last_event_seq());
}

TEST_F(ApiWatchTest, FiltersTypesButNeverTheEnd) {
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

TEST_F(ApiWatchTest, RefusesWatchesOfNothing) {
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

TEST_F(ApiWatchTest, KeepsAJobWhoseWatcherLeaves) {
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

TEST_F(ApiWatchTest, RefusesMetricsThatWereCompactedAndReplaysTheRest) {
  const std::string name = rig_.Submit(kWaitForStop).name();
  rig_.jobs.AwaitState(name, v1::RUNNING);
  for (int batch = 0; batch < 30; ++batch) {  // 15 000 points; 10 000 stay
    JobChange change{name.substr(5), "", std::nullopt, {}, [batch](JobDraft& draft) {
                       v1::JobEvent& event = AddEvent(draft, v1::METRIC, absl::Now());
                       for (int i = 0; i < 500; ++i) {
                         v1::MetricPoint& point = *event.mutable_metric()->add_points();
                         point.set_name("loss");
                         point.set_step(batch * 500 + i);
                         point.set_value(i);
                       }
                       return absl::OkStatus();
                     }};
    ASSERT_TRUE(Await<v1::Job>([&](Reply<v1::Job> reply) {
                  rig_.jobs.store().ChangeJob(std::move(change), std::move(reply));
                }).ok());
  }
  v1::Job job;
  EXPECT_TRUE(Cancel(name, job).ok());
  EXPECT_EQ(Wait(name).state(), v1::CANCELLED);
  const auto compacted = Await<int64_t>([&](Reply<int64_t> reply) {
    rig_.jobs.store().CompactMetrics(absl::Now() + absl::Hours(1), 20, std::move(reply));
  });
  EXPECT_EQ(*compacted, 1);

  v1::WatchJobRequest request;
  grpc::Status end;
  request.set_name(name);
  request.set_from_seq(1);
  Watch(request, end);
  EXPECT_EQ(end.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(Reason(end), "EVENTS_COMPACTED");
  request.add_types(v1::STATE);
  std::vector<v1::JobEvent> events = Watch(request, end);
  EXPECT_TRUE(end.ok()) << end.error_message();
  ASSERT_GE(events.size(), 5u);  // snapshot, QUEUED, STARTING, RUNNING, ..., CANCELLED
  EXPECT_TRUE(events.back().terminal());
  const int64_t through = events.front().compacted_through_seq();
  EXPECT_GT(through, 0);
  request.clear_types();
  request.set_from_seq(through);  // what follows is whole
  events = Watch(request, end);
  EXPECT_TRUE(end.ok()) << end.error_message();
  EXPECT_TRUE(events.back().terminal());
}

}  // namespace
}  // namespace adamant
