// SPDX-License-Identifier: Apache-2.0
// Watches and logs across broken streams.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/client.h"
#include "client/error.h"
#include "tests/support/fake_server.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using testing::ErrorWith;
using testing::FakeServer;

v1::JobEvent Snapshot(int64_t last_seq) {
  v1::JobEvent event;
  event.set_type(v1::SNAPSHOT);
  event.mutable_snapshot()->set_last_event_seq(last_seq);
  return event;
}

v1::JobEvent Metric(int64_t seq) {
  v1::JobEvent event;
  event.set_type(v1::METRIC);
  event.set_seq(seq);
  event.mutable_metric();
  return event;
}

v1::JobEvent Last(int64_t seq) {
  v1::JobEvent event;
  event.set_type(v1::STATE);
  event.set_seq(seq);
  event.set_terminal(true);
  event.mutable_state()->set_to(v1::SUCCEEDED);
  return event;
}

const grpc::Status kCut(grpc::StatusCode::UNAVAILABLE, "cut");

std::vector<int64_t> SeqsOf(Client& client, int64_t from, absl::Status& status) {
  std::vector<int64_t> seqs;
  status = client.Watch("jobs/a", from, [&](const v1::JobEvent& event) {
    if (!event.has_snapshot()) seqs.push_back(event.seq());
  });
  return seqs;
}

TEST(Watch, ResumesAfterABrokenStreamWithoutGapOrDuplicate) {
  FakeServer server;
  server.jobs.watches = {{{Snapshot(0), Metric(1), Metric(2)}, kCut},
                         {{Snapshot(4), Metric(2), Metric(3), Metric(4)}, kCut},
                         {{Snapshot(5), Last(5)}, grpc::Status::OK}};
  absl::Status status;
  EXPECT_THAT(SeqsOf(*server.MakeClient(), 1, status), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(server.jobs.from_seqs, ElementsAre(1, 2, 4));
}

TEST(Watch, LosesNothingWhenTheReplayBreaksAgain) {
  FakeServer server;
  server.jobs.watches = {{{Snapshot(0), Metric(1), Metric(2)}, kCut},
                         {{Snapshot(5), Metric(3)}, kCut},
                         {{Snapshot(5), Metric(4), Last(5)}, grpc::Status::OK}};
  absl::Status status;
  EXPECT_THAT(SeqsOf(*server.MakeClient(), 0, status), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(server.jobs.from_seqs, ElementsAre(0, 2, 3));
}

TEST(Watch, ResumesFromTheSnapshotWhenNoEventCameAfterIt) {
  FakeServer server;
  server.jobs.watches = {{{Snapshot(7)}, kCut}, {{Snapshot(8), Last(8)}, grpc::Status::OK}};
  absl::Status status;
  EXPECT_THAT(SeqsOf(*server.MakeClient(), 0, status), ElementsAre(8));
  EXPECT_THAT(server.jobs.from_seqs, ElementsAre(0, 7));
}

TEST(Watch, FailsWhenTheStreamEndsWithOkButWithoutATerminalEvent) {
  FakeServer server;
  server.jobs.watches = {{{Snapshot(0), Metric(1)}, grpc::Status::OK}};
  absl::Status status;
  SeqsOf(*server.MakeClient(), 0, status);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

TEST(Watch, EndsWithTheTerminalEventEvenIfTheStreamBreaksBehindIt) {
  FakeServer server;
  server.jobs.watches = {{{Snapshot(0), Last(1)}, kCut}};
  absl::Status status;
  EXPECT_THAT(SeqsOf(*server.MakeClient(), 0, status), ElementsAre(1));
  EXPECT_TRUE(status.ok()) << status;
}

TEST(Watch, AcceptsTheTerminalEventAgainWhenAskedForWhatFollowsIt) {
  FakeServer server;
  server.jobs.watches = {{{Snapshot(9), Last(9)}, grpc::Status::OK}};
  absl::Status status;
  EXPECT_THAT(SeqsOf(*server.MakeClient(), 9, status), ElementsAre(9));
  EXPECT_TRUE(status.ok()) << status;
}

TEST(Watch, ReturnsErrorsThatTryingAgainCannotCure) {
  FakeServer server;
  server.jobs.watches = {{{}, ErrorWith(grpc::NOT_FOUND, "no such job", "JOB_NOT_FOUND")}};
  absl::Status status;
  SeqsOf(*server.MakeClient(), 0, status);
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(DecodeError(status).reason, "JOB_NOT_FOUND");
}

TEST(Watch, StopsWhenCancelled) {
  FakeServer server;
  server.jobs.watches = {{{Snapshot(0)}, kCut}};
  CancelToken token;
  const absl::Status status =
      server.MakeClient()->Watch("jobs/a", 0, [&](const v1::JobEvent&) { token.Cancel(); }, &token);
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST(ReadLog, ResumesFromTheByteWhereItBroke) {
  FakeServer server;
  server.jobs.log = "first line\nsecond line\n";
  server.jobs.log_break = 14;
  std::string text;
  v1::ReadLogRequest request;
  request.set_name("jobs/a");
  const absl::Status status = server.MakeClient()->ReadLog(
      request, [&](int64_t, absl::string_view bytes) { text.append(bytes.data(), bytes.size()); });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(text, server.jobs.log);
}

TEST(Watch, GoesOnFromASnapshotWhenTheEventsWereCompacted) {
  FakeServer server;
  server.jobs.watches = {{{}, ErrorWith(grpc::OUT_OF_RANGE, "gone", "EVENTS_COMPACTED")},
                         {{Snapshot(90), Metric(91), Last(92)}, grpc::Status::OK}};
  absl::Status status;
  EXPECT_THAT(SeqsOf(*server.MakeClient(), 7, status), ElementsAre(91, 92));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(server.jobs.from_seqs, ElementsAre(7, 0));
}

TEST(Watch, ResumesAfterAGoodbyeAndAfterAStreamsMaximumAgeWithoutShowingThem) {
  FakeServer server;
  v1::JobEvent goodbye;
  goodbye.set_type(v1::GOING_AWAY);
  goodbye.set_seq(1);
  server.jobs.watches = {
      {{Snapshot(0), Metric(1), goodbye}, ErrorWith(grpc::UNAVAILABLE, "drain", "DRAINING")},
      {{Snapshot(1), Metric(2)}, ErrorWith(grpc::UNAVAILABLE, "old", "STREAM_MAX_AGE")},
      {{Snapshot(3), Last(3)}, grpc::Status::OK}};
  ClientOptions options;
  std::vector<std::string> lines;
  options.debug = [&](const std::string& line) { lines.push_back(line); };
  absl::Status status;
  EXPECT_THAT(SeqsOf(*server.MakeClient(options), 1, status), ElementsAre(1, 2, 3));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(server.jobs.from_seqs, ElementsAre(1, 1, 2));
  EXPECT_THAT(lines, ::testing::Contains("reconnected, replayed 1 events"));
}

TEST(ReadLog, FailsWhenFollowingEndsBeforeTheJobDoes) {
  FakeServer server;
  server.jobs.log = "line\n";
  v1::ReadLogRequest request;
  request.set_name("jobs/a");
  request.set_follow(true);
  const auto ignore = [](int64_t, absl::string_view) {};
  server.jobs.job.set_state(v1::RECOVERING);
  EXPECT_TRUE(absl::IsDataLoss(server.MakeClient()->ReadLog(request, ignore)));
  server.jobs.job.set_state(v1::FAILED);
  EXPECT_TRUE(server.MakeClient()->ReadLog(request, ignore).ok());
}

}  // namespace
}  // namespace adamant
