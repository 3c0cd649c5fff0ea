// SPDX-License-Identifier: Apache-2.0
// Many clients that do the same, stop reading, or lose their connection.
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "tests/fault/load.h"
#include "tests/fault/proxy.h"
#include "tests/fault/rig.h"
#include "tests/fault/settings.h"

namespace adamant::testing {
namespace {

std::string SubmitRecorded(Rig& rig, ChainRequest request) {
  if (request.request_id.empty()) request.request_id = NewUuid();
  rig.history().Add({.op = "asked", .request_id = request.request_id});
  const auto job = rig.api().Submit(request);
  EXPECT_TRUE(job.ok()) << job.status();
  if (!job.ok()) return "";
  rig.history().Add({.op = "submit", .request_id = request.request_id, .job = job->name()});
  return job->name();
}

TEST(Storm, OneRequestIsOneJobHoweverOftenItComesAlsoOverAKill) {
  constexpr int kClients = 16;
  Rig rig;
  rig.Start();
  const std::string id = NewUuid();
  rig.history().Add({.op = "asked", .request_id = id});
  const int rounds = RoundsOr(10);
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&] {
      Api api(rig.address());
      for (int acknowledged = 0; acknowledged < rounds;) {
        const auto job = api.Submit({.request_id = id, .seed = 5000});
        if (!job.ok()) {
          absl::SleepFor(absl::Milliseconds(20));
          continue;
        }
        ++acknowledged;
        rig.history().Add({.op = "submit", .request_id = id, .job = job->name()});
      }
    });
  }
  absl::SleepFor(absl::Milliseconds(100));
  rig.Restart();
  for (std::thread& client : clients) client.join();
  const auto other = rig.api().Submit({.request_id = id, .seed = 5001});
  EXPECT_EQ(other.status().code(), absl::StatusCode::kAlreadyExists) << other.status();
  rig.CheckOracle();
  const auto jobs = rig.api().List();
  ASSERT_TRUE(jobs.ok()) << jobs.status();
  EXPECT_EQ(jobs->size(), 1u);
}

TEST(Storm, CancelsAtRandomMomentsLeaveNoOrphan) {
  Rig rig;
  rig.Start({.arguments = {"--cpu-slots", "2"}});
  std::mt19937_64 random(TheSettings().seed);
  for (int i = 0; i < RoundsOr(100); ++i) {
    const std::string job =
        SubmitRecorded(rig, {.seed = 6000 + random() % 1000,
                             .steps = static_cast<int64_t>(3 + random() % 10),
                             .step_milliseconds = static_cast<int>(random() % 30),
                             .every_steps = 1});
    absl::SleepFor(absl::Milliseconds(static_cast<int64_t>(random() % 60)));
    for (int repeat = 0; repeat < 2; ++repeat) {
      const auto answer = rig.api().Ask(Verb::kCancel, job);
      if (!answer.ok()) {
        EXPECT_TRUE(absl::IsFailedPrecondition(answer.status())) << answer.status();
        break;
      }
      rig.history().Add({.op = "cancel", .job = job, .state = v1::JobState_Name(answer->state())});
    }
  }
  rig.CheckOracle();
  const auto status = rig.api().Status();
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->running_jobs(), 0);
  for (const v1::SlotStatus& slot : status->slots()) EXPECT_EQ(slot.job(), "");
}

TEST(Storm, WatchersThatNeverReadHarmNobody) {
  Rig rig;
  rig.Start();
  const std::string job =
      SubmitRecorded(rig, {.seed = 7000, .steps = 200, .step_milliseconds = 2, .every_steps = 1});
  std::vector<std::shared_ptr<void>> idle;
  for (int i = 0; i < RoundsOr(20); ++i) idle.push_back(rig.api().OpenIdleWatch(job));
  int64_t last = 0;
  bool terminal = false;
  const absl::Status watched = rig.api().Watch(job, 1, [&](const v1::JobEvent& event) {
    const bool durable = event.seq() > 0 && !event.has_snapshot() && event.type() != v1::BOOKMARK;
    if (durable) {
      EXPECT_EQ(event.seq(), last + 1);
      last = event.seq();
    }
    terminal = terminal || event.terminal();
    return true;
  });
  EXPECT_TRUE(watched.ok()) << watched;
  EXPECT_TRUE(terminal);
  idle.clear();
  rig.CheckOracle();
}

// With the client library, which resumes by itself: never OK without the end, no event twice.
TEST(Cut, AWatchSeesEachEventOnceOverCutConnections) {
  Rig rig;
  rig.Start();
  TcpProxy proxy(rig.address(), 6000);
  const std::string job =
      SubmitRecorded(rig, {.seed = 8000, .steps = 100, .step_milliseconds = 10, .every_steps = 1});
  ClientOptions options;
  options.first_backoff = absl::Milliseconds(10);
  const auto client = Client::Create(proxy.address(), options);
  ASSERT_TRUE(client.ok()) << client.status();
  int64_t last = 0;
  bool terminal = false;
  const absl::Status watched = (*client)->Watch(job, 1, [&](const v1::JobEvent& event) {
    const bool durable = event.type() == v1::STATE || event.type() == v1::METRIC ||
                         event.type() == v1::CHECKPOINT || event.type() == v1::ARTIFACT ||
                         event.type() == v1::WARNING;
    if (durable) {
      EXPECT_EQ(event.seq(), last + 1);
      last = event.seq();
    }
    terminal = terminal || event.terminal();
  });
  EXPECT_TRUE(watched.ok()) << watched;
  EXPECT_TRUE(terminal);
  EXPECT_GT(proxy.cuts(), 0);
  const auto done = rig.api().Get(job);
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(last, done->last_event_seq());
  rig.CheckOracle();
}

TEST(Cut, AWatchWithoutResumingNeverEndsWithOkBeforeTheJob) {
  Rig rig;
  rig.Start();
  TcpProxy proxy(rig.address());
  const std::string job = SubmitRecorded(
      rig, {.seed = 8100, .steps = 3000, .step_milliseconds = 20, .every_steps = 100});
  Api api(proxy.address());
  for (int i = 0; i < RoundsOr(5); ++i) {
    bool terminal = false;
    const absl::Status status = api.Watch(job, 0, [&](const v1::JobEvent& event) {
      terminal = terminal || event.terminal();
      proxy.Cut();
      return true;
    });
    EXPECT_FALSE(terminal);
    EXPECT_FALSE(status.ok());
  }
  EXPECT_TRUE(rig.api().Ask(Verb::kCancel, job).ok());
  rig.CheckOracle();
}

TEST(Cut, AnUploadGoesOnWhereTheConnectionBroke) {
  Rig rig;
  rig.Start();
  TcpProxy proxy(rig.address());
  Api api(proxy.address());
  std::mt19937_64 random(TheSettings().seed);
  for (int i = 0; i < RoundsOr(3); ++i) {
    std::string bytes(3 << 20, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    const v1::BlobRef blob = RefOf(bytes);
    const std::string upload = NewUpload(blob);
    int64_t before = 0;
    proxy.SetCutAfter(1 << 20);
    for (int tries = 0; tries < 500; ++tries) {
      const auto committed = api.Committed(upload);
      if (!committed.ok() && !absl::IsNotFound(committed.status())) {
        absl::SleepFor(absl::Milliseconds(10));
        continue;
      }
      const int64_t durable = committed.ok() ? *committed : 0;
      EXPECT_GE(durable, before) << "committed_size went back";
      before = durable;
      const auto written = api.Write(upload, bytes, durable);
      if (!written.ok()) continue;
      EXPECT_EQ(*written, blob.size_bytes());
      rig.history().Add({.op = "upload", .digest = blob.sha256(), .size = blob.size_bytes()});
      break;
    }
    EXPECT_GT(proxy.cuts(), i);
    EXPECT_EQ(rig.history().entries().size(), static_cast<size_t>(i + 1));
  }
  rig.CheckOracle();
}

}  // namespace
}  // namespace adamant::testing
