// SPDX-License-Identifier: Apache-2.0
#include "core/base/device_memory.h"

#include <gtest/gtest.h>

#include "core/base/torch.h"

namespace adamant {
namespace {

TEST(DeviceMemory, LimitsNothingOnTheCpuAndWithoutAShare) {
  LimitDeviceMemory("cpu", 0.5);
  LimitDeviceMemory("cuda:0", 0);
  LimitDeviceMemory("cuda:0", 1);
  if (!torch::cuda::is_available()) LimitDeviceMemory("cuda:0", 0.5);
  EXPECT_EQ(at::ones({1024}).sum().item<float>(), 1024);
}

// In a process that has not used the device yet.
TEST(DeviceMemoryCuda, RefusesMoreThanTheShare) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "there is no GPU";
  LimitDeviceMemory("cuda:0", 1e-4);
  EXPECT_THROW(at::empty({int64_t{1} << 30}, at::TensorOptions(at::kCUDA)), c10::OutOfMemoryError);
}

}  // namespace
}  // namespace adamant
