// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace adamant {

// Lets this process allocate at most `fraction` of the memory of a GPU, for what LibTorch allocates
// there; more is out of memory. Nothing for "cpu", and for a fraction outside (0,1). Before the
// first tensor on `device`: LibTorch reads it when it opens the device.
void LimitDeviceMemory(const std::string& device, double fraction);

}  // namespace adamant
