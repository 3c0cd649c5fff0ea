// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <chrono>
#include <map>

#include "absl/strings/str_format.h"
#include "server/api/log_lines.h"
#include "server/jobs/event_ring.h"
#include "server/jobs/job_log.h"
#include "tests/support/api/api_rig.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace testing;  // NOLINT: the fake tasks
using Stub = v1::RobustnessService::Stub;

v1::JobEvent EventOf(int64_t seq, size_t bytes = 0) {
  v1::JobEvent event;
  event.set_type(v1::WARNING);
  event.set_seq(seq);
  event.mutable_warning()->set_text(std::string(bytes, 'x'));
  return event;
}

TEST(EventRing, GivesTheEventBehindACursorAndSaysWhatItNoLongerHas) {
  EventRing ring;
  SharedEvent event;
  EXPECT_EQ(ring.Next(0, event), EventRing::Found::kOlder);
  for (int64_t seq = 1; seq <= 8; ++seq) ring.Add(EventOf(seq, 50000));
  EXPECT_EQ(ring.first_seq(), 4);  // five of them fit into 256 KiB
  EXPECT_EQ(ring.Next(2, event), EventRing::Found::kOlder);
  ASSERT_EQ(ring.Next(3, event), EventRing::Found::kEvent);
  EXPECT_EQ(event.seq, 4);
  v1::JobEvent parsed;
  ASSERT_TRUE(parsed.ParseFromString(*event.bytes));
  EXPECT_EQ(parsed.seq(), 4);
  EXPECT_EQ(ring.Next(8, event), EventRing::Found::kNothing);
  ring.Add(EventOf(20));
  EXPECT_EQ(ring.first_seq(), 20);  // never a gap
}

TEST(EventRing, ReadsTheHeadOfASerialisedEvent) {
  v1::JobEvent event = EventOf(7, 10);
  event.set_terminal(true);
  event.mutable_time()->set_seconds(5);
  const SharedEvent shared = ShareEventBytes(event.SerializeAsString());
  EXPECT_EQ(shared.seq, 7);
  EXPECT_EQ(shared.type, v1::WARNING);
  EXPECT_TRUE(shared.terminal);
}

TEST(EventRing, PassesLogBytesByOffset) {
  EventRing ring;
  const auto add = [&](int64_t offset, const std::string& data) {
    v1::JobEvent event;
    event.mutable_log()->set_offset(offset);
    event.mutable_log()->set_data(data);
    ring.AddLog(event);
  };
  int64_t cursor = 10;
  EXPECT_FALSE(ring.NextLog(cursor).has_value());
  add(5, "early");
  add(10, "one");
  add(13, "two");
  ASSERT_TRUE(ring.NextLog(cursor).has_value());
  EXPECT_EQ(cursor, 13);
  ASSERT_TRUE(ring.NextLog(cursor).has_value());
  EXPECT_FALSE(ring.NextLog(cursor).has_value());
  EXPECT_EQ(cursor, 16);
}

class JobLogTest : public ::testing::Test {
 protected:
  std::unique_ptr<JobLogWriter> Open(int attempt = 1) {
    auto writer = JobLogWriter::Open(folder_.path(), "job", attempt);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return *std::move(writer);
  }
  LogPiece Read(int64_t offset, int64_t limit = 64 << 10, int attempt = 0) {
    const auto piece = ReadJobLog(folder_.path(), "job", attempt, offset, limit);
    EXPECT_TRUE(piece.ok()) << piece.status();
    return piece.ok() ? *piece : LogPiece();
  }

  TemporaryFolder folder_;
};

TEST_F(JobLogTest, CutsLongLinesAndSaysSo) {
  const auto writer = Open();
  const std::string head = writer->Append(std::string(kLogLineBytes - 1, 'a'));
  EXPECT_EQ(static_cast<int64_t>(head.size()), kLogLineBytes - 1);
  EXPECT_EQ(writer->Append("bcd\nnext\n"), "b [2 bytes cut]\nnext\n");
  EXPECT_EQ(writer->Append("short\n"), "short\n");
}

TEST_F(JobLogTest, KeepsTheFirst16AndTheLast48MiBUnderTheirOffsets) {
  const auto writer = Open();
  constexpr int64_t kTotal = (int64_t{80} << 20) + 512;
  std::string block;
  for (int64_t at = 0; at < kTotal;) {  // every line states its own offset
    block.clear();
    while (block.size() < 1 << 20 && at < kTotal) {
      const std::string line = absl::StrFormat("%015d\n", at);
      block += line;
      at += static_cast<int64_t>(line.size());
    }
    writer->Append(block);
  }
  EXPECT_EQ(writer->size(), kTotal);
  EXPECT_EQ(JobLogBytes(folder_.path(), "job"), kTotal);
  EXPECT_EQ(Read(kLogHeadBytes - 16, 100).bytes, absl::StrFormat("%015d\n", kLogHeadBytes - 16));
  const LogPiece marker = Read(kLogHeadBytes);
  EXPECT_EQ(marker.offset, kLogHeadBytes);
  EXPECT_EQ(marker.bytes,
            absl::StrFormat("\n[%d bytes of output were dropped]\n", (int64_t{16} << 20) + 4096));
  int64_t at = marker.offset + static_cast<int64_t>(marker.bytes.size());
  const LogPiece tail = Read(at);
  EXPECT_EQ(tail.offset, (int64_t{32} << 20) + 4096);
  EXPECT_EQ(tail.bytes.substr(0, 16), absl::StrFormat("%015d\n", tail.offset));
  EXPECT_EQ(Read(kTotal - 16).bytes, absl::StrFormat("%015d\n", kTotal - 16));
  EXPECT_EQ(Read(kTotal).bytes, "");
  // The next attempt begins where this one ends, whatever was dropped.
  Open(2)->Append("second\n");
  EXPECT_EQ(Read(kTotal).bytes, "second\n");
  EXPECT_EQ(Read(0, 100, 2).bytes, "second\n");
}

TEST(LogLines, ChoosesByLevelAndKeepsWhatBelongsToALine) {
  const std::string text =
      "raw\n"
      "2030-01-31T12:00:00.000Z debug one\n"
      "2030-01-31T12:00:00.000Z error two\n"
      "  more of two\n"
      "2030-01-31T12:00:00.000Z info three\n";
  const auto chosen = [&](absl::string_view level) {
    auto lines = LogLines::Make(level);
    EXPECT_TRUE(lines.ok());
    std::string all;
    for (const LogLines::Run& run : lines->Choose(text)) all += text.substr(run.begin, run.size);
    return all;
  };
  EXPECT_EQ(chosen(""), text);
  EXPECT_EQ(chosen("error"), "2030-01-31T12:00:00.000Z error two\n  more of two\n");
  EXPECT_THAT(chosen("info"), HasSubstr("raw\n"));
  EXPECT_FALSE(LogLines::Make("loud").ok());
}

// A watch that the test reads itself, message by message.
class OpenWatch {
 public:
  OpenWatch(Stub& stub, const v1::WatchJobRequest& request) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    reader_ = stub.WatchJob(&context_, request);
  }
  ~OpenWatch() {
    context_.TryCancel();
    v1::JobEvent event;
    while (reader_->Read(&event)) {
    }
    if (!finished_) reader_->Finish();
  }
  // The next message of `type`; an empty one at the end of the stream.
  v1::JobEvent Await(v1::EventType type) {
    v1::JobEvent event;
    while (reader_->Read(&event)) {
      if (event.type() == type) return event;
    }
    return {};
  }
  grpc::Status Finish() {
    v1::JobEvent event;
    while (reader_->Read(&event)) {
    }
    finished_ = true;
    return reader_->Finish();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::JobEvent>> reader_;
  bool finished_ = false;
};

class ApiStreamsTest : public ::testing::Test {
 protected:
  static ApiRigOptions Quick() {
    ApiRigOptions options;
    options.limits.bookmark_after = absl::Milliseconds(50);
    options.limits.slow_after = absl::Milliseconds(300);
    return options;
  }

  static v1::WatchJobRequest Request(const std::string& name, int64_t from_seq = 0) {
    v1::WatchJobRequest request;
    request.set_name(name);
    request.set_from_seq(from_seq);
    return request;
  }

  // Appends `count` WARNING events of `bytes` each.
  void AddEvents(const std::string& name, int count, size_t bytes) {
    JobChange change{name.substr(5), "", std::nullopt, {}, [=](JobDraft& draft) {
                       for (int i = 0; i < count; ++i) {
                         AddEvent(draft, v1::WARNING, absl::Now())
                             .mutable_warning()
                             ->set_text(std::string(bytes, 'x'));
                       }
                       return absl::OkStatus();
                     }};
    ASSERT_TRUE(Await<v1::Job>([&](Reply<v1::Job> reply) {
                  rig_->jobs.store().ChangeJob(std::move(change), std::move(reply));
                }).ok());
  }

  std::string StartWaiting() {
    const std::string name = rig_->Submit(kWaitForStop).name();
    rig_->jobs.AwaitState(name, v1::RUNNING);
    return name;
  }

  void Cancel(const std::string& name) {
    v1::Job job;
    EXPECT_TRUE(rig_->Call(&Stub::CancelJob, name, job).ok());
  }

  std::string ReadLog(const v1::ReadLogRequest& request, std::vector<int64_t>* offsets = nullptr) {
    grpc::ClientContext context;
    const auto reader = rig_->robustness->ReadLog(&context, request);
    std::string text;
    v1::ReadLogResponse chunk;
    while (reader->Read(&chunk)) {
      text += chunk.data();
      if (offsets != nullptr) offsets->push_back(chunk.offset());
    }
    const grpc::Status end = reader->Finish();
    EXPECT_TRUE(end.ok()) << end.error_message();
    return text;
  }

  std::unique_ptr<ApiRig> rig_ = std::make_unique<ApiRig>(Quick());
};

TEST_F(ApiStreamsTest, SendsBookmarksWithTheLastSeqWhileNothingHappens) {
  const std::string name = StartWaiting();
  OpenWatch watch(*rig_->robustness, Request(name));
  const int64_t last = watch.Await(v1::SNAPSHOT).snapshot().last_event_seq();
  EXPECT_GE(last, 2);
  const v1::JobEvent first = watch.Await(v1::BOOKMARK);
  EXPECT_GE(first.seq(), last);
  EXPECT_TRUE(first.has_time());
  EXPECT_EQ(watch.Await(v1::BOOKMARK).type(), v1::BOOKMARK);
  Cancel(name);
}

TEST_F(ApiStreamsTest, ReplaysOldEventsFromTheStoreAndNewOnesWithoutAGap) {
  rig_ = std::make_unique<ApiRig>();  // the second watch waits until the first is read
  const std::string name = StartWaiting();
  AddEvents(name, 700, 1000);  // more than the ring holds
  OpenWatch first(*rig_->robustness, Request(name, 1));
  OpenWatch second(*rig_->robustness, Request(name, 1));
  AddEvents(name, 5, 10);
  Cancel(name);
  for (OpenWatch* watch : {&first, &second}) {
    int64_t expected = 3;  // QUEUED, STARTING, RUNNING come before
    for (; expected < 3 + 705; ++expected) {
      const v1::JobEvent event = watch->Await(v1::WARNING);
      ASSERT_EQ(event.seq(), expected + 1);
    }
    EXPECT_TRUE(watch->Finish().ok());
  }
}

TEST_F(ApiStreamsTest, SendsLogBytesWithTheOffsetsOfTheLog) {
  const std::string before = StartWaiting();  // holds the slot until the watch is open
  const std::string name = rig_->Submit(kFlood).name();
  v1::WatchJobRequest request = Request(name);
  request.add_types(v1::LOG);
  std::map<int64_t, std::string> seen;
  {
    OpenWatch watch(*rig_->robustness, request);
    EXPECT_EQ(watch.Await(v1::SNAPSHOT).type(), v1::SNAPSHOT);
    Cancel(before);
    for (v1::JobEvent event = watch.Await(v1::LOG); event.type() == v1::LOG;
         event = watch.Await(v1::LOG)) {
      seen[event.log().offset()] = event.log().data();
    }
  }
  v1::ReadLogRequest read;
  read.set_name(name);
  read.set_follow(true);
  const std::string log = ReadLog(read);
  ASSERT_FALSE(seen.empty());
  for (const auto& [offset, data] : seen)
    EXPECT_EQ(log.substr(static_cast<size_t>(offset), data.size()), data);
  EXPECT_EQ(static_cast<size_t>(seen.rbegin()->first) + seen.rbegin()->second.size(), log.size());
}

TEST_F(ApiStreamsTest, EndsTheStreamOfAWatcherThatDoesNotRead) {
  const std::string name = StartWaiting();
  OpenWatch watch(*rig_->robustness, Request(name));
  EXPECT_EQ(watch.Await(v1::SNAPSHOT).type(), v1::SNAPSHOT);
  AddEvents(name, 200, 50000);
  // The stream ends on its own; only then does the client read.
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  while (rig_->jobs.hub().watchers() > 0 && absl::Now() < give_up)
    absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(rig_->jobs.hub().watchers(), 0);
  const grpc::Status end = watch.Finish();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(end.error_message(), HasSubstr("SLOW_CONSUMER"));
  Cancel(name);
}

TEST_F(ApiStreamsTest, EndsAStreamThatIsTooOld) {
  ApiRigOptions options = Quick();
  options.limits.stream_max_age = absl::Milliseconds(200);
  rig_ = std::make_unique<ApiRig>(options);
  const std::string name = StartWaiting();
  OpenWatch watch(*rig_->robustness, Request(name));
  const grpc::Status end = watch.Finish();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Reason(end), "STREAM_MAX_AGE");
  Cancel(name);
}

TEST_F(ApiStreamsTest, StaysOpenBehindTheEndWhenAsked) {
  const std::string name = StartWaiting();
  v1::WatchJobRequest request = Request(name);
  request.set_until(v1::WatchJobRequest::UNTIL_FOREVER);
  OpenWatch watch(*rig_->robustness, request);
  Cancel(name);
  v1::JobEvent event = watch.Await(v1::STATE);
  while (!event.terminal() && event.type() == v1::STATE) event = watch.Await(v1::STATE);
  EXPECT_TRUE(event.terminal());
  EXPECT_EQ(watch.Await(v1::BOOKMARK).seq(), event.seq());
}

TEST_F(ApiStreamsTest, RefusesWatchersBeyondTheLimit) {
  ApiRigOptions options = Quick();
  options.limits.max_watchers_per_tenant = 1;
  rig_ = std::make_unique<ApiRig>(options);
  const std::string name = StartWaiting();
  OpenWatch first(*rig_->robustness, Request(name));
  EXPECT_EQ(first.Await(v1::SNAPSHOT).type(), v1::SNAPSHOT);
  OpenWatch second(*rig_->robustness, Request(name));
  EXPECT_EQ(Reason(second.Finish()), "QUOTA_WATCHERS");
  Cancel(name);
}

TEST_F(ApiStreamsTest, ReadsLogsByLevelLineAndAttempt) {
  const std::string name = rig_->Submit(kCrashOnce).name();
  rig_->jobs.AwaitEnd(name);
  const std::string folder = rig_->jobs.options.log_folder;
  const auto line = [](const char* level, const char* text) {
    return absl::StrCat("2030-01-31T12:00:00.000Z ", level, " ", text, "\n");
  };
  {
    auto writer = JobLogWriter::Open(folder, name.substr(5), 1);
    ASSERT_TRUE(writer.ok());
    (*writer)->Append(line("info", "a") + line("error", "b") + line("debug", "c"));
  }
  v1::ReadLogRequest request;
  request.set_name(name);
  request.set_attempt(1);
  EXPECT_THAT(ReadLog(request), HasSubstr(line("error", "b")));
  request.set_min_level("warning");
  std::vector<int64_t> offsets;
  EXPECT_EQ(ReadLog(request, &offsets), line("error", "b"));
  EXPECT_THAT(offsets, ElementsAre(static_cast<int64_t>(line("info", "a").size())));
  request.set_min_level("info");
  request.set_tail_lines(1);
  EXPECT_EQ(ReadLog(request), line("error", "b"));
  request.set_limit_bytes(4);
  EXPECT_EQ(ReadLog(request), "2030");
  request.Clear();
  request.set_name(name);
  request.set_attempt(2);
  request.set_follow(true);
  EXPECT_THAT(ReadLog(request), HasSubstr("a line on stdout\n"));
  request.set_attempt(9);
  EXPECT_EQ(ReadLog(request), "");
}

}  // namespace
}  // namespace adamant
