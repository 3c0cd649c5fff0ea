// SPDX-License-Identifier: Apache-2.0
// SIGSTOP and SIGCONT: a process that is alive and does nothing (R6, R11 of reliability.md 12).
#include <gtest/gtest.h>
#include <signal.h>

#include "absl/time/clock.h"
#include "client/client.h"
#include "tests/fault/load.h"
#include "tests/fault/rig.h"
#include "tests/fault/settings.h"

namespace adamant::testing {
namespace {

TEST(Stop, AStoppedWorkerIsLostAndItsJobGoesOn) {
  Rig rig;
  rig.Start({.arguments = {"--warm-spares", "0"}});  // the only worker is that of the job
  const std::string id = NewUuid();
  rig.history().Add({.op = "asked", .request_id = id});
  const auto job = rig.api().Submit(
      {.request_id = id, .seed = 1077, .steps = 30, .step_milliseconds = 50, .every_steps = 5});
  ASSERT_TRUE(job.ok()) << job.status();
  rig.history().Add({.op = "submit", .request_id = id, .job = job->name()});
  pid_t stopped = 0;
  const absl::Status watched = rig.api().Watch(job->name(), 1, [&](const v1::JobEvent& event) {
    if (event.has_checkpoint() && stopped == 0) {
      for (const pid_t worker : rig.Workers()) {
        stopped = worker;
        kill(worker, SIGSTOP);
      }
    }
    return true;
  });
  EXPECT_TRUE(watched.ok()) << watched;
  EXPECT_NE(stopped, 0);
  const auto done = rig.api().Get(job->name());
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->state(), v1::SUCCEEDED);
  ASSERT_EQ(done->attempts_size(), 2);
  EXPECT_EQ(done->attempts(0).outcome(), v1::ATTEMPT_WORKER_LOST);
  rig.CheckOracle({.workers_were_killed = true});
}

// The server sleeps while its workers go on; with 40 rounds (seconds) longer than the lease.
TEST(Stop, AStoppedServerLosesNothingAndRepeatsNothing) {
  const int seconds = RoundsOr(2);
  Rig rig;
  rig.Start({.arguments = {"--cpu-slots", "2"}});
  Load load(rig.address(), rig.history(), {.seed = TheSettings().seed});
  for (int i = 0; i < 2; ++i) {
    absl::SleepFor(absl::Seconds(1));
    rig.server().Signal(SIGSTOP);
    absl::SleepFor(absl::Seconds(seconds));
    rig.server().Signal(SIGCONT);
  }
  absl::SleepFor(absl::Seconds(1));
  load.Stop();
  EXPECT_GT(load.submits(), 0);
  rig.CheckOracle({.workers_were_killed = true});
}

TEST(Stop, ASecondServerOnTheFolderIsRefusedAlsoWhileTheFirstSleeps) {
  Rig rig;
  rig.Start();
  rig.server().Signal(SIGSTOP);
  ServerProcess second(rig.data_dir(), ServerSetup{{"--worker", "/bin/true"}, {}, true});
  EXPECT_FALSE(second.ready());
  EXPECT_EQ(second.Wait(), 3) << second.log();
  rig.server().Signal(SIGCONT);
  rig.CheckOracle();
}

}  // namespace
}  // namespace adamant::testing
