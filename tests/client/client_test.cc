// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "client/error.h"
#include "common/files.h"
#include "tests/support/fake_server.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using testing::ErrorWith;
using testing::FakeBlobs;
using testing::FakeServer;
using ::testing::MatchesRegex;

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

class TempFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / NewUuid();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  std::string Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(Path(name), std::ios::binary) << bytes;
    return Path(name);
  }

 private:
  std::filesystem::path folder_;
};
class Upload : public TempFolder {};
class Download : public TempFolder {};

// Different at every offset of a chunk boundary, so that a shift shows in the digest.
std::string Bytes(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 2654435761u) >> 13);
  return bytes;
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

TEST(Metrics, AreCollectedFromAllPages) {
  FakeServer server;
  for (int i = 0; i < 2500; ++i) {
    server.jobs.points.emplace_back().set_step(i);
  }
  v1::ListMetricPointsRequest request;
  request.set_job("jobs/a");
  const auto points = server.MakeClient()->ListMetricPoints(request);
  ASSERT_TRUE(points.ok()) << points.status();
  ASSERT_EQ(points->size(), 2500u);
  EXPECT_EQ(points->back().step(), 2499);
  EXPECT_EQ(server.jobs.metric_pages.size(), 3u);
}

TEST(Headers, CarryOneTraceAndTheTokenOfTheFile) {
  FakeServer server;
  const std::string path = ::testing::TempDir() + NewUuid();
  std::ofstream(path) << "adm_key_secret\n";
  ClientOptions options;
  options.token_file = path;
  const auto client = server.MakeClient(options);
  ASSERT_TRUE(client->GetJob("jobs/a").ok());
  const std::string first = server.jobs.traceparent;
  EXPECT_THAT(first, MatchesRegex("00-[0-9a-f]{32}-[0-9a-f]{16}-01"));
  EXPECT_EQ(first.substr(3, 32), client->trace_id());
  EXPECT_EQ(server.jobs.authorization, "Bearer adm_key_secret");
  ASSERT_TRUE(client->GetJob("jobs/a").ok());
  EXPECT_EQ(server.jobs.traceparent.substr(3, 32), client->trace_id());
  EXPECT_NE(server.jobs.traceparent, first);
  EXPECT_TRUE(absl::IsPermissionDenied(Client::Create("example.org:1", options).status()));
  options.tls_ca = path;
  EXPECT_TRUE(Client::Create("example.org:1", options).ok());
  options.token_file = path + ".absent";
  EXPECT_TRUE(absl::IsNotFound(Client::Create("example.org:1", options).status()));
  std::filesystem::remove(path);
}

TEST(Submit, AlwaysSendsARequestId) {
  FakeServer server;
  v1::JobSpec spec;
  spec.mutable_train();
  ASSERT_TRUE(server.MakeClient()->Submit(spec, {}).ok());
  EXPECT_THAT(server.jobs.train.options().request_id(),
              MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
}

TEST(Submit, KeepsTheReasonAndEveryViolation) {
  FakeServer server;
  server.jobs.submit_status = ErrorWith(grpc::INVALID_ARGUMENT, "2 violations", "BAD_PARAMETER",
                                        {{"a.b", "too large"}, {"c", "unknown"}});
  v1::JobSpec spec;
  spec.mutable_attack();
  const ClientError error = DecodeError(server.MakeClient()->Submit(spec, {}).status());
  EXPECT_EQ(error.reason, "BAD_PARAMETER");
  ASSERT_EQ(error.violations.size(), 2u);
  EXPECT_EQ(error.violations[1].field, "c");
}

TEST_F(Upload, GoesOnAtTheCommittedByteAfterABreak) {
  FakeServer server;
  server.blobs.write_break = 512 << 10;
  const std::string bytes = Bytes((1 << 20) + 17);
  const auto blob = server.MakeClient()->Upload(Write("weights", bytes));
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(server.blobs.blobs.at(BlobName(FakeBlobs::RefOf(bytes))), bytes);
  EXPECT_THAT(server.blobs.write_offsets, ElementsAre(0, 512 << 10));
}

TEST_F(Upload, GoesOnWhereAnotherProcessWasStopped) {
  FakeServer server;
  server.blobs.write_break = 512 << 10;
  const std::string bytes = Bytes((1 << 20) + 17);
  ClientOptions options;
  options.reconnect_limit = -absl::Seconds(1);  // a process that dies with its first stream
  EXPECT_FALSE(server.MakeClient(options)->Upload(Write("weights", bytes)).ok());
  ASSERT_TRUE(server.MakeClient()->Upload(Write("a copy", bytes)).ok());
  EXPECT_EQ(server.blobs.blobs.at(BlobName(FakeBlobs::RefOf(bytes))), bytes);
  EXPECT_THAT(server.blobs.write_offsets, ElementsAre(0, 512 << 10));
  EXPECT_EQ(server.blobs.staged.size(), 1u);
}

TEST(UploadUuid, BelongsToOneBlobAndOneUser) {
  const v1::BlobRef blob = FakeBlobs::RefOf("bytes");
  const std::string uuid = UploadUuid(blob, "7@host");
  EXPECT_TRUE(IsUuid(uuid)) << uuid;
  EXPECT_EQ(uuid, UploadUuid(blob, "7@host"));
  EXPECT_NE(uuid, UploadUuid(blob, "8@host"));
  EXPECT_NE(uuid, UploadUuid(FakeBlobs::RefOf("others"), "7@host"));
}

TEST(FindMissingBlobs, AsksInPiecesThatTheServerAccepts) {
  FakeServer server;
  server.blobs.Add("known");
  std::vector<v1::BlobRef> blobs(10000, FakeBlobs::RefOf("absent"));
  blobs.push_back(FakeBlobs::RefOf("known"));
  blobs.push_back(FakeBlobs::RefOf("absent too"));
  const auto missing = server.MakeClient()->FindMissingBlobs(blobs);
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_EQ(missing->size(), 10001u);
  EXPECT_THAT(server.blobs.asked, ElementsAre(10000, 2));
}

TEST_F(Upload, SendsNothingThatTheServerHas) {
  FakeServer server;
  server.blobs.Add("known");
  ASSERT_TRUE(server.MakeClient()->Upload(Write("file", "known")).ok());
  EXPECT_TRUE(server.blobs.write_offsets.empty());
}

TEST_F(Upload, SendsAnEmptyFile) {
  FakeServer server;
  const auto blob = server.MakeClient()->Upload(Write("empty", ""));
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(blob->size_bytes(), 0);
}

TEST_F(Download, ResumesAfterABreakAndKeepsNoPart) {
  FakeServer server;
  const std::string bytes = Bytes(300000);
  server.blobs.Add(bytes);
  server.blobs.read_break = 100000;
  const absl::Status status = server.MakeClient()->Download(FakeBlobs::RefOf(bytes), Path("file"));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(*ReadFile(Path("file")), bytes);
  EXPECT_THAT(server.blobs.read_offsets, ElementsAre(0, 100000));
  EXPECT_FALSE(std::filesystem::exists(Path("file.part")));
}

TEST_F(Download, GoesOnWhereAnEarlierProcessStopped) {
  FakeServer server;
  const std::string bytes = Bytes(1000);
  server.blobs.Add(bytes);
  Write("file.part", bytes.substr(0, 600));
  ASSERT_TRUE(server.MakeClient()->Download(FakeBlobs::RefOf(bytes), Path("file")).ok());
  EXPECT_EQ(*ReadFile(Path("file")), bytes);
  EXPECT_THAT(server.blobs.read_offsets, ElementsAre(600));
}

TEST_F(Download, StartsAnewWhenThePartWasOfSomethingElse) {
  FakeServer server;
  const std::string bytes = Bytes(1000);
  server.blobs.Add(bytes);
  Write("file.part", "another file");
  ASSERT_TRUE(server.MakeClient()->Download(FakeBlobs::RefOf(bytes), Path("file")).ok());
  EXPECT_EQ(*ReadFile(Path("file")), bytes);
}

TEST_F(Download, DiscardsBytesWithAnotherDigest) {
  FakeServer server;
  server.blobs.Add("right");
  server.blobs.corrupt_reads = true;
  const absl::Status status =
      server.MakeClient()->Download(FakeBlobs::RefOf("right"), Path("file"));
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_FALSE(std::filesystem::exists(Path("file")));
  EXPECT_FALSE(std::filesystem::exists(Path("file.part")));
}

TEST_F(Download, RefusesToOverwriteUnlessTold) {
  FakeServer server;
  server.blobs.Add("new");
  Write("file", "old");
  const auto client = server.MakeClient();
  EXPECT_TRUE(absl::IsAlreadyExists(client->Download(FakeBlobs::RefOf("new"), Path("file"))));
  EXPECT_EQ(*ReadFile(Path("file")), "old");
  EXPECT_TRUE(client->Download(FakeBlobs::RefOf("new"), Path("file"), true).ok());
  EXPECT_EQ(*ReadFile(Path("file")), "new");
}

TEST(Create, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "localhost", ":50061", "host:0", "host:99999", "unix:"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Client::Create(text).status())) << text;
  }
  EXPECT_TRUE(Client::Create("127.0.0.1:50061").ok());
  EXPECT_TRUE(Client::Create("unix:/run/adamant.sock").ok());
}

}  // namespace
}  // namespace adamant
