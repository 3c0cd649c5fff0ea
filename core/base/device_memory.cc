// SPDX-License-Identifier: Apache-2.0
#include "core/base/device_memory.h"

#include <c10/core/AllocatorConfig.h>

#include "absl/strings/str_cat.h"
#include "core/base/torch.h"

namespace adamant {

// The setting is known only where LibTorch has CUDA.
void LimitDeviceMemory(const std::string& device, double fraction) {
  if (fraction <= 0 || fraction >= 1 || !c10::Device(device).is_cuda()) return;
  if (!torch::cuda::is_available()) return;
  c10::CachingAllocator::setAllocatorSettings(
      absl::StrCat("per_process_memory_fraction:", fraction));
}

}  // namespace adamant
