// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/gpu_monitor.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace adamant {
namespace {

// Over the fake library of tests/support/gpu, with two GPUs.
class GpuMonitorTest : public ::testing::Test {
 protected:
  ~GpuMonitorTest() override {
    unsetenv("FAKE_NVML");
    unsetenv("CUDA_VISIBLE_DEVICES");
  }

  static std::unique_ptr<GpuMonitor> Open(const char* wish = "", const char* visible = nullptr) {
    setenv("FAKE_NVML", wish, 1);
    if (visible != nullptr) setenv("CUDA_VISIBLE_DEVICES", visible, 1);
    auto monitor = GpuMonitor::Open(ADAMANT_TEST_PROGRAMS "/libfake_nvml.so");
    EXPECT_TRUE(monitor.ok()) << monitor.status();
    return *std::move(monitor);
  }
};

TEST_F(GpuMonitorTest, ReadsEveryGpu) {
  const std::vector<GpuSample> gpus = Open()->Sample();
  ASSERT_EQ(gpus.size(), 2u);
  EXPECT_EQ(gpus[0].index, 0);
  EXPECT_EQ(gpus[0].memory_total_bytes, int64_t{80} << 30);
  EXPECT_EQ(gpus[0].memory_used_bytes, int64_t{1} << 30);
  EXPECT_EQ(gpus[1].utilization_ratio, 0.75);
  EXPECT_EQ(gpus[1].energy_joules, 2.5);
  EXPECT_EQ(gpus[1].temperature_celsius, 60);
}

TEST_F(GpuMonitorTest, TellsTheFreeMemoryOfADevice) {
  const auto monitor = Open();
  const auto memory = monitor->Memory("cuda:1");
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(memory->free_bytes, int64_t{20} << 30);
  for (const char* absent : {"cuda:2", "cpu", "cuda:", "cuda:-1"})
    EXPECT_EQ(monitor->Memory(absent).status().code(), absl::StatusCode::kNotFound) << absent;
}

TEST_F(GpuMonitorTest, NumbersDevicesAsCudaDoes) {
  const auto monitor = Open("", "GPU-b, 0");
  EXPECT_EQ(monitor->Memory("cuda:0")->free_bytes, int64_t{20} << 30);
  EXPECT_EQ(monitor->Memory("cuda:1")->free_bytes, int64_t{79} << 30);
  EXPECT_EQ(Open("", "1,7,0")->Sample().size(), 1u);
  EXPECT_EQ(Open("", "")->Sample().size(), 0u);
}

TEST_F(GpuMonitorTest, SaysThatTheDriverLostAGpu) {
  const auto monitor = Open("lost");
  const std::vector<GpuSample> gpus = monitor->Sample();
  ASSERT_EQ(gpus.size(), 2u);
  EXPECT_TRUE(gpus[0].readable);
  EXPECT_FALSE(gpus[1].readable);
  EXPECT_EQ(monitor->Memory("cuda:1").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(GpuMonitorTest, CountsErrorsOnceEach) {
  const auto monitor = Open("error");
  EXPECT_EQ(monitor->Sample()[0].xid_errors, 1);
  const std::vector<GpuSample> later = monitor->Sample();
  EXPECT_EQ(later[0].xid_errors, 1);
  EXPECT_EQ(later[1].xid_errors, 0);
}

TEST_F(GpuMonitorTest, IsAbsentWithoutALibrary) {
  EXPECT_EQ(GpuMonitor::Open("libno_such_driver.so.1").status().code(),
            absl::StatusCode::kNotFound);
  // A library that is something else.
  EXPECT_EQ(GpuMonitor::Open("libm.so.6").status().code(), absl::StatusCode::kUnavailable);
  setenv("FAKE_NVML", "init_fails", 1);
  EXPECT_EQ(GpuMonitor::Open(ADAMANT_TEST_PROGRAMS "/libfake_nvml.so").status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace adamant
