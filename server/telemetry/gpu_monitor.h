// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace adamant {

// What the driver says about one GPU.
struct GpuSample {
  int index = 0;         // N of "cuda:N"
  bool readable = true;  // false: the driver no longer answers for it; the rest is 0
  int64_t memory_used_bytes = 0;
  int64_t memory_total_bytes = 0;
  double utilization_ratio = 0;
  double energy_joules = 0;  // since the driver was loaded
  double temperature_celsius = 0;
  int64_t xid_errors = 0;  // since the monitor was opened
};

struct GpuMemory {
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;  // right now, whoever uses the rest
};

// Reads GPUs through NVML, which is loaded at run time: a machine without the driver needs nothing.
// Devices are numbered as CUDA numbers them in this process' environment (CUDA_VISIBLE_DEVICES; set
// CUDA_DEVICE_ORDER=PCI_BUS_ID where GPUs differ). Thread-safe; a call takes about a millisecond.
class GpuMonitor {
 public:
  // NOT_FOUND when there is no such library, UNAVAILABLE when it does not start.
  static absl::StatusOr<std::unique_ptr<GpuMonitor>> Open(
      const std::string& library = "libnvidia-ml.so.1");
  virtual ~GpuMonitor() = default;

  // Every visible GPU, by index.
  virtual std::vector<GpuSample> Sample() = 0;

  // Of "cuda:N". NOT_FOUND for any other name, UNAVAILABLE when the driver does not answer.
  virtual absl::StatusOr<GpuMemory> Memory(absl::string_view device) = 0;
};

}  // namespace adamant
