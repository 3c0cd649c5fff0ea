// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "server/store/job_store.h"
#include "server/store/store_rules.h"

namespace adamant {

struct MemoryStoreOptions {
  LeaseClock clock;  // unset = CLOCK_BOOTTIME
};

// A JobStore without durability, threads and backup, for simulations: an operation runs, and its
// observers and reply are called, before the call returns. One that is called from an observer or a
// reply runs after that has returned. Thread-safe.
std::unique_ptr<JobStore> NewMemoryStore(MemoryStoreOptions options = {});

}  // namespace adamant
