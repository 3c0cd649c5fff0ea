// SPDX-License-Identifier: Apache-2.0
// What jobs may use of the machine.
#pragma once

#include <vector>

#include "adamant/v1/system.pb.h"
#include "adamant/worker/v1/worker.pb.h"
#include "server/jobs/scheduler.h"
#include "server/telemetry/gpu_monitor.h"
#include "server/workers/worker_pool.h"

namespace adamant {

// One slot per GPU; without one, the CPU slots of the configuration.
std::vector<Slot> MakeSlots(const v1::ServerConfig& config, const worker::v1::Catalog& catalog);

// What jobs may use together: nine tenths of the host's memory, and each GPU. `gpus` may be null.
void SetMemoryLedgers(const worker::v1::Catalog& catalog, GpuMonitor* gpus,
                      SchedulerOptions& options);

}  // namespace adamant
