// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/metric_names.h"

#include "absl/strings/ascii.h"

namespace adamant {

std::string LabelOf(v1::JobKind kind) { return absl::AsciiStrToLower(v1::JobKind_Name(kind)); }

std::string LabelOf(v1::JobState state) { return absl::AsciiStrToLower(v1::JobState_Name(state)); }

std::string LabelOf(v1::StateReason reason) {
  if (reason == v1::STATE_REASON_UNSPECIFIED) return "";
  return absl::AsciiStrToLower(v1::StateReason_Name(reason));
}

const char* LabelOf(v1::AttemptOutcome outcome) {
  switch (outcome) {
    case v1::ATTEMPT_SUCCEEDED:
      return "succeeded";
    case v1::ATTEMPT_USER_ERROR:
    case v1::ATTEMPT_DATA_ERROR:
    case v1::ATTEMPT_NUMERICAL:
      return "error";
    case v1::ATTEMPT_OUT_OF_MEMORY:
      return "out_of_memory";
    case v1::ATTEMPT_DEVICE_FAULT:
      return "device_fault";
    case v1::ATTEMPT_WORKER_LOST:
      return "worker_lost";
    case v1::ATTEMPT_DRAINED:
    case v1::ATTEMPT_SERVER_RESTART:
    case v1::ATTEMPT_PAUSED:
    case v1::ATTEMPT_CANCELLED:
      return "stopped";
    case v1::ATTEMPT_TIMEOUT:
      return "timeout";
    default:
      return "internal";
  }
}

}  // namespace adamant
