// SPDX-License-Identifier: Apache-2.0
// Every crash point of reliability.md 6.3: R3 and R9 of section 12.
#include "common/failpoint.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>

#include <functional>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "tests/fault/load.h"
#include "tests/fault/rig.h"
#include "tests/fault/settings.h"

namespace adamant::testing {
namespace {

constexpr int kExitStoreFailed = 75;
constexpr absl::Duration kMostOfIt = absl::Seconds(60);  // until a failpoint has to have fired

// What makes a failpoint fire beside the load.
enum class Trigger { kLoad, kWorker, kRecover, kDrain, kLease, kExpiry, kHang, kGarbage };

struct Point {
  absl::string_view name;
  Trigger trigger = Trigger::kLoad;
};

const Point kSpecial[] = {
    {"hello.before", Trigger::kWorker},   {"progress.before", Trigger::kWorker},
    {"heartbeat.skip", Trigger::kWorker}, {"start.recover", Trigger::kRecover},
    {"drain.each_step", Trigger::kDrain}, {"lease.renew", Trigger::kLease},
    {"lease.expire", Trigger::kExpiry},   {"supervisor.skip_kill", Trigger::kHang},
    {"gc.before_row", Trigger::kGarbage}, {"gc.before_unlink", Trigger::kGarbage},
};

Point PointOf(absl::string_view name) {
  for (const Point& point : kSpecial) {
    if (point.name == name) return point;
  }
  return {name};
}

std::string TestName(absl::string_view name) {
  return absl::StrReplaceAll(name, {{".", "_"}, {"=", "_"}});
}

void WaitUntil(const std::function<bool()>& done, absl::Duration limit) {
  const absl::Time deadline = absl::Now() + limit;
  while (!done() && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(20));
}

// A job that is still running when everything else is over, until it is cancelled.
std::string SubmitLongJob(Rig& rig) {
  const std::string id = "00000000-0000-4000-8000-00000000abcd";
  rig.history().Add({.op = "asked", .request_id = id});
  const auto job = rig.api().Submit(
      {.request_id = id, .seed = 4242, .steps = 3000, .step_milliseconds = 100, .every_steps = 10});
  EXPECT_TRUE(job.ok()) << job.status();
  if (!job.ok()) return "";
  rig.history().Add({.op = "submit", .request_id = id, .job = job->name()});
  return job->name();
}

void WaitUntilRunning(Rig& rig, const std::string& job) {
  WaitUntil(
      [&] {
        const auto seen = rig.api().Get(job);
        return seen.ok() && seen->state() == v1::RUNNING;
      },
      kMostOfIt);
}

void CancelLongJob(Rig& rig, const std::string& job) {
  WaitUntil(
      [&] {
        const auto answer = rig.api().Ask(Verb::kCancel, job);
        if (!answer.ok()) return absl::IsFailedPrecondition(answer.status());
        rig.history().Add(
            {.op = "cancel", .job = job, .state = v1::JobState_Name(answer->state())});
        return true;
      },
      kMostOfIt);
}

// Runs the load against a server with `failpoints` until `fired` has fired, then a little longer.
void LoadUntil(Rig& rig, const std::function<bool()>& fired) {
  LoadOptions options{.seed = TheSettings().seed, .max_live = 6, .max_step_milliseconds = 10};
  Load load(rig.address(), rig.history(), options);
  WaitUntil(fired, kMostOfIt);
  if (rig.server().EndsWithin(absl::Seconds(1))) rig.Start();
  absl::SleepFor(absl::Milliseconds(500));
  load.Stop();
}

// As if the last use of each blob, and its lease, were long ago.
void AgeAllBlobs(const std::string& store) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(store.c_str(), &database), SQLITE_OK);
  const char* sql = "UPDATE blobs SET use_nanos = 1, lease_nanos = 1";
  EXPECT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(database);
  sqlite3_close(database);
}

class KillAtFailpoint : public ::testing::TestWithParam<absl::string_view> {
 protected:
  std::string Rule() const { return absl::StrCat(GetParam(), "=kill"); }
  bool Fired() const { return rig.HasFired(std::string(GetParam())); }

  // The job is there before the failpoint is armed.
  std::string StartWithLongJob(const std::string& failpoints) {
    rig.Start({.failpoints = failpoints, .arguments = {"--drain-delay", "0"}});
    const std::string job = SubmitLongJob(rig);
    WaitUntilRunning(rig, job);
    return job;
  }

  void Pull(Trigger trigger);
  void PullGarbage();

  Rig rig;
};

void KillAtFailpoint::Pull(Trigger trigger) {
  switch (trigger) {
    case Trigger::kLoad:
      rig.Start();  // the ports are known before a failpoint may end the server
      rig.Kill();
      rig.Start({.failpoints = Rule(), .may_end = true});
      return LoadUntil(rig, [&] { return Fired(); });
    case Trigger::kWorker:
      rig.Start({.worker_failpoints = Rule()});
      LoadUntil(rig, [&] { return Fired(); });
      rig.Restart();
      return;
    case Trigger::kRecover: {
      const std::string job = StartWithLongJob("");
      rig.Kill();
      rig.Start({.failpoints = Rule(), .may_end = true});
      WaitUntil([&] { return Fired(); }, absl::Seconds(5));
      rig.Restart();
      return CancelLongJob(rig, job);
    }
    case Trigger::kDrain: {
      const std::string job = StartWithLongJob(Rule());
      rig.server().Terminate();
      rig.Start();
      return CancelLongJob(rig, job);
    }
    case Trigger::kLease:
    case Trigger::kExpiry: {
      const bool expiry = trigger == Trigger::kExpiry;
      const std::string job =
          StartWithLongJob(expiry ? absl::StrCat("lease.renew=skip@*,", Rule()) : Rule());
      WaitUntil([&] { return Fired(); }, kMostOfIt);
      rig.Restart();
      return CancelLongJob(rig, job);
    }
    case Trigger::kHang: {
      const std::string job = StartWithLongJob(Rule());
      for (const pid_t worker : rig.Workers()) kill(worker, SIGSTOP);
      WaitUntil([&] { return Fired(); }, kMostOfIt);
      rig.Restart();
      return CancelLongJob(rig, job);
    }
    case Trigger::kGarbage:
      return PullGarbage();
  }
}

// Every blob was last used long ago; only the result of a job is still needed.
void KillAtFailpoint::PullGarbage() {
  rig.Start();
  const std::string id = "00000000-0000-4000-8000-00000000abce";
  rig.history().Add({.op = "asked", .request_id = id});
  const auto job = rig.api().Submit({.request_id = id, .seed = 4343});
  ASSERT_TRUE(job.ok()) << job.status();
  rig.history().Add({.op = "submit", .request_id = id, .job = job->name()});
  const v1::BlobRef garbage = RefOf("nobody needs this");
  ASSERT_TRUE(rig.api().Write(NewUpload(garbage), "nobody needs this", 0).ok());
  rig.ComeToRest();
  rig.server().Terminate();
  AgeAllBlobs(rig.data_dir() + "/store.db");
  rig.Start({.failpoints = Rule(), .may_end = true});
  WaitUntil([&] { return Fired(); }, kMostOfIt);
  rig.Restart();
  const auto done = rig.api().Get(job->name());
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_TRUE(rig.api().Read(done->result().train().weights()).ok());
  EXPECT_TRUE(rig.api().Write(NewUpload(garbage), "nobody needs this", 0).ok());
  EXPECT_TRUE(rig.api().Read(garbage).ok());
}

TEST_P(KillAtFailpoint, LosesNothing) {
  const Point point = PointOf(GetParam());
  Pull(point.trigger);
  rig.CheckOracle({.workers_were_killed =
                       point.trigger == Trigger::kWorker || point.trigger == Trigger::kHang});
  EXPECT_TRUE(Fired()) << point.name << " never fired";
}

INSTANTIATE_TEST_SUITE_P(Fault, KillAtFailpoint, ::testing::ValuesIn(FailpointNames()),
                         [](const auto& info) { return TestName(info.param); });

// A disk error at a step of the file protocol or of the store: a clean refusal, or exit 75 and a
// recovery.
class DiskErrorAtFailpoint : public ::testing::TestWithParam<std::string> {};

TEST_P(DiskErrorAtFailpoint, IsRefusedOrEndsTheServerCleanly) {
  const std::string& rule = GetParam();
  const std::string name = rule.substr(0, rule.find('='));
  Rig rig;
  rig.Start();
  rig.Kill();
  rig.Start({.failpoints = rule, .may_end = true});
  LoadOptions options{.seed = TheSettings().seed, .max_live = 6, .max_step_milliseconds = 10};
  std::optional<Load> load(std::in_place, rig.address(), rig.history(), options);
  WaitUntil([&] { return rig.HasFired(name); }, kMostOfIt);
  if (rig.server().EndsWithin(absl::Seconds(1))) {
    EXPECT_EQ(rig.server().Wait(), kExitStoreFailed) << rig.server().log();
    rig.Start();
  }
  absl::SleepFor(absl::Milliseconds(500));
  load.reset();
  rig.CheckOracle({.disk_failed = true});
  EXPECT_TRUE(rig.HasFired(name)) << name << " never fired";
}

std::vector<std::string> DiskErrors() {
  std::vector<std::string> rules;
  for (const absl::string_view name : FailpointNames()) {
    const bool file = absl::StartsWith(name, "output.") || absl::StartsWith(name, "upload.");
    const bool step = file && !absl::StartsWith(name, "upload.before");
    const bool store = absl::EndsWith(name, ".before_commit");
    if (!step && !store) continue;
    rules.push_back(absl::StrCat(name, "=eio"));
    rules.push_back(absl::StrCat(name, "=enospc"));
    if (step) rules.push_back(absl::StrCat(name, "=eintr"));
    if (absl::EndsWith(name, ".write")) rules.push_back(absl::StrCat(name, "=short_write"));
  }
  return rules;
}

INSTANTIATE_TEST_SUITE_P(Fault, DiskErrorAtFailpoint, ::testing::ValuesIn(DiskErrors()),
                         [](const auto& info) { return TestName(info.param); });

}  // namespace
}  // namespace adamant::testing
