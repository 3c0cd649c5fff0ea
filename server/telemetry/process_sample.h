// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace adamant {

// What the kernel says about this process.
struct ProcessSample {
  double cpu_seconds = 0;
  int64_t resident_bytes = 0;
  int64_t virtual_bytes = 0;
  int64_t open_fds = 0;
  int64_t max_fds = 0;
  double start_time_seconds = 0;  // Unix time
};

// Reads /proc/self; fields that cannot be read stay 0.
ProcessSample SampleProcess();

}  // namespace adamant
