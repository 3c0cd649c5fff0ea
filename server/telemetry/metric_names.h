// SPDX-License-Identifier: Apache-2.0
// Label values of jobs.
#pragma once

#include <string>

#include "adamant/v1/job.pb.h"

namespace adamant {

inline constexpr v1::JobKind kJobKinds[] = {v1::TRAIN, v1::ATTACK, v1::EXPLAIN};

inline constexpr const char* kAttemptOutcomes[] = {"succeeded",    "error",       "out_of_memory",
                                                   "device_fault", "worker_lost", "stopped",
                                                   "timeout",      "internal"};

// Lower case: "train", "running", "worker_lost"; empty for the unspecified reason.
std::string LabelOf(v1::JobKind kind);
std::string LabelOf(v1::JobState state);
std::string LabelOf(v1::StateReason reason);
// One of kAttemptOutcomes.
const char* LabelOf(v1::AttemptOutcome outcome);

}  // namespace adamant
