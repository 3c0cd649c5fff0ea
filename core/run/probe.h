// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"

namespace adamant {

// Whether `device` ("cpu", "cuda:0") computes what it should: allocates 64 MiB, runs an
// elementwise, a reduction and a matrix kernel whose results are exact integers, compares, frees.
// ABORTED when a result is wrong. Throws c10::Error when the device refuses.
absl::Status ProbeDevice(const std::string& device);

}  // namespace adamant
