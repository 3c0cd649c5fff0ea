// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/simulation/world.h"

namespace adamant::testing {
namespace {

TEST(T28, AFortyMinuteJobMeetsNoTimeoutAndAFailedOneFreesItsSlot) {
  World world(1, {.jobs = 0, .faults = 0});
  const std::string failing =
      world.SubmitWith({.behaviour = Behaviour::kUserError, .steps = 3, .turning_point = 1});
  const std::string patient =
      world.SubmitWith({.steps = 480, .step_time = absl::Seconds(5)});  // 40 minutes
  world.Run();
  EXPECT_EQ(world.problem(), "");
  const v1::Job& failed = world.store().jobs().at(failing).job;
  EXPECT_EQ(failed.state(), v1::FAILED);
  const v1::Job& job = world.store().jobs().at(patient).job;
  EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.state_message();
  EXPECT_EQ(job.attempt(), 1);
  EXPECT_EQ(job.result().train().steps(), 480);
  EXPECT_GE(FromProto(job.end_time()) - FromProto(job.start_time()), absl::Minutes(40));
}

}  // namespace
}  // namespace adamant::testing
