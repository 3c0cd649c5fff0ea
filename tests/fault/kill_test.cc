// SPDX-License-Identifier: Apache-2.0
// SIGKILL at random moments under load: R1 of reliability.md 12.
#include <gtest/gtest.h>
#include <signal.h>

#include <random>

#include "absl/time/clock.h"
#include "tests/fault/load.h"
#include "tests/fault/rig.h"
#include "tests/fault/settings.h"

namespace adamant::testing {
namespace {

// One process of the service: every third time a worker, else the server.
bool KillOne(Rig& rig, std::mt19937_64& random) {
  const std::vector<pid_t> workers = rig.Workers();
  if (random() % 3 == 0 && !workers.empty()) {
    kill(workers[random() % workers.size()], SIGKILL);
    return false;
  }
  rig.Kill();
  return true;
}

TEST(Kill, NothingThatWasAcknowledgedIsLost) {
  const int kills = RoundsOr(5);
  Rig rig;
  rig.Start({.arguments = {"--cpu-slots", "2"}});
  std::mt19937_64 random(TheSettings().seed);
  LoadOptions options{.seed = TheSettings().seed};
  if (kills >= 200) options.max_live = 200;
  Load load(rig.address(), rig.history(), options);
  int servers = 0;
  for (int i = 0; i < kills; ++i) {
    absl::SleepFor(absl::Milliseconds(static_cast<int64_t>(100 + random() % 600)));
    if (!KillOne(rig, random)) continue;
    ++servers;
    rig.Start({.arguments = {"--cpu-slots", "2"}});
    if (HasFatalFailure() || !rig.server().ready()) break;
  }
  absl::SleepFor(absl::Seconds(1));
  load.Stop();
  EXPECT_GT(load.submits(), 0);
  rig.CheckOracle({.workers_were_killed = true});
  RecordProperty("kills", kills);
  RecordProperty("server_kills", servers);
  RecordProperty("submits", load.submits());
}

// A kill of a worker alone, at least once, and its job goes on from the last checkpoint.
TEST(Kill, AKilledWorkerCostsAtMostOneCheckpointInterval) {
  Rig rig;
  rig.Start();
  rig.history().Add({.op = "asked", .request_id = "00000000-0000-4000-8000-000000000001"});
  const auto job = rig.api().Submit({.request_id = "00000000-0000-4000-8000-000000000001",
                                     .seed = 1234,
                                     .steps = 40,
                                     .step_milliseconds = 50,
                                     .every_steps = 5});
  ASSERT_TRUE(job.ok()) << job.status();
  bool killed = false;
  const absl::Status watched = rig.api().Watch(job->name(), 1, [&](const v1::JobEvent& event) {
    if (event.has_checkpoint() && !killed) {
      killed = true;
      const std::vector<pid_t> workers = rig.Workers();
      EXPECT_FALSE(workers.empty());
      for (const pid_t worker : workers) kill(worker, SIGKILL);
    }
    return true;
  });
  EXPECT_TRUE(watched.ok()) << watched;
  EXPECT_TRUE(killed);
  const auto done = rig.api().Get(job->name());
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->state(), v1::SUCCEEDED);
  EXPECT_EQ(done->attempts_size(), 2);
  EXPECT_TRUE(done->result().train().resumed());
  rig.CheckOracle({.workers_were_killed = true});
}

}  // namespace
}  // namespace adamant::testing
