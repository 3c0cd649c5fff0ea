// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "core/engine.h"

namespace adamant {
namespace {

TEST(Probe, ASoundDevicePasses) {
  const absl::Status status = engine::Probe("cpu");
  EXPECT_TRUE(status.ok()) << status;
}

TEST(Probe, ADeviceThatIsNotThereFails) {
  EXPECT_EQ(engine::Probe("no_such_device").code(), absl::StatusCode::kAborted);
  EXPECT_EQ(engine::Probe("cuda:63").code(), absl::StatusCode::kAborted);
}

TEST(Probe, CudaPasses) {
  if (engine::Devices().size() < 2) GTEST_SKIP() << "no CUDA device";
  EXPECT_TRUE(engine::Probe("cuda:0").ok());
}

}  // namespace
}  // namespace adamant
