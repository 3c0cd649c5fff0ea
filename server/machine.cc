// SPDX-License-Identifier: Apache-2.0
#include "server/machine.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace adamant {

std::vector<Slot> MakeSlots(const v1::ServerConfig& config, const worker::v1::Catalog& catalog) {
  std::vector<Slot> slots;
  for (const v1::Device& device : catalog.devices()) {
    if (device.kind() != "cuda") continue;
    for (int i = 0; i < device.count(); ++i) {
      slots.push_back(
          {.device = absl::StrCat("cuda:", slots.size()), .threads = config.threads_per_slot()});
    }
  }
  if (!slots.empty()) return slots;
  return std::vector<Slot>(static_cast<size_t>(config.cpu_slots()),
                           Slot{.device = "cpu", .threads = config.threads_per_slot()});
}

void SetMemoryLedgers(const worker::v1::Catalog& catalog, GpuMonitor* gpus,
                      SchedulerOptions& options) {
  const int64_t pages = sysconf(_SC_PHYS_PAGES);
  const int64_t page_bytes = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page_bytes > 0) options.host_memory_bytes = pages / 10 * 9 * page_bytes;
  for (const v1::Device& device : catalog.devices()) {
    if (device.kind() != "cuda") continue;
    for (int i = 0; i < device.count(); ++i) {
      const std::string name = absl::StrCat("cuda:", options.device_memory_bytes.size());
      int64_t& bytes = options.device_memory_bytes[name] = device.memory_bytes();
      if (gpus == nullptr || bytes > 0) continue;
      if (const auto memory = gpus->Memory(name); memory.ok()) bytes = memory->total_bytes;
    }
  }
}

}  // namespace adamant
