// SPDX-License-Identifier: Apache-2.0
// Histories of a server under faults, one per seed. ADAMANT_SIMULATION_SEEDS sets how many
// (default 2000), ADAMANT_SIMULATION_FIRST_SEED where they begin: a failure names its seed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <string>

#include "tests/simulation/world.h"

namespace adamant::testing {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

// The number of seeds of `count` from which a broken promise follows.
int Broken(int count, const World::Options& options) {
  int broken = 0;
  for (int seed = 1; seed <= count; ++seed) {
    World world(static_cast<uint64_t>(seed), options);
    world.Run();
    broken += world.problem().empty() ? 0 : 1;
  }
  return broken;
}

TEST(Simulation, KeepsEveryPromiseInEveryHistory) {
  const uint64_t first = FromEnvironment("ADAMANT_SIMULATION_FIRST_SEED", 1);
  const uint64_t count = FromEnvironment("ADAMANT_SIMULATION_SEEDS", 2000);
  int64_t events = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    World world(seed, {});
    world.Run();
    events += world.events();
    ASSERT_EQ(world.problem(), "")
        << "seed " << seed << "; replay it with ADAMANT_SIMULATION_FIRST_SEED=" << seed
        << " ADAMANT_SIMULATION_SEEDS=1";
  }
  RecordProperty("events", std::to_string(events));
  EXPECT_GT(events, static_cast<int64_t>(count) * 100);  // something happened in them
}

TEST(Simulation, MeetsEveryWayInWhichAnAttemptCanEnd) {
  std::set<v1::AttemptOutcome> seen;
  std::set<v1::JobState> ends;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    World world(seed, {});
    world.Run();
    for (const auto& [uid, stored] : world.store().jobs()) {
      ends.insert(stored.job.state());
      for (const v1::Attempt& attempt : stored.job.attempts()) seen.insert(attempt.outcome());
    }
  }
  for (const v1::AttemptOutcome outcome :
       {v1::ATTEMPT_SUCCEEDED, v1::ATTEMPT_USER_ERROR, v1::ATTEMPT_OUT_OF_MEMORY,
        v1::ATTEMPT_DEVICE_FAULT, v1::ATTEMPT_WORKER_LOST, v1::ATTEMPT_DRAINED,
        v1::ATTEMPT_SERVER_RESTART, v1::ATTEMPT_PAUSED, v1::ATTEMPT_FENCED, v1::ATTEMPT_CANCELLED,
        v1::ATTEMPT_TIMEOUT}) {
    EXPECT_EQ(seen.count(outcome), 1u) << v1::AttemptOutcome_Name(outcome);
  }
  EXPECT_EQ(ends.size(), 3u);  // SUCCEEDED, FAILED, CANCELLED
}

TEST(Simulation, TheSameSeedGivesTheSameHistory) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    World first(seed, {});
    World second(seed, {});
    first.Run();
    second.Run();
    EXPECT_EQ(first.trace(), second.trace()) << "seed " << seed;
    EXPECT_EQ(first.events(), second.events()) << "seed " << seed;
  }
}

TEST(Simulation, WithoutFaultsEveryJobThatNobodyStopsSucceeds) {
  World world(7, {.jobs = 20, .faults = 0});
  world.Run();
  EXPECT_EQ(world.problem(), "");
  for (const auto& [uid, stored] : world.store().jobs())
    EXPECT_EQ(stored.job.charged_attempts(), 0) << uid;
}

// The checks are worth something: they find bugs that are put in on purpose.
TEST(Simulation, FindsAServerThatForgetsToRecover) {
  EXPECT_GT(Broken(20, {.bug = "no_recovery"}), 0);
}

TEST(Simulation, FindsASlotThatIsNeverGivenBack) { EXPECT_GT(Broken(20, {.bug = "slot_leak"}), 0); }

}  // namespace
}  // namespace adamant::testing
