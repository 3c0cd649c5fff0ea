// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "server/jobs/attempt.h"

namespace adamant {

// Drives `attempt` with a worker of `pool` until it is over. Blocks.
void RunAttempt(Attempt& attempt, WorkerPool& pool, RunObserver& observer, const Clock& clock,
                const std::string& job_name);

}  // namespace adamant
