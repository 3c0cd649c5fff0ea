// SPDX-License-Identifier: Apache-2.0
#include "server/store/store_executor.h"

namespace adamant {

absl::string_view MetricName(StoreStep step) {
  switch (step) {
    case StoreStep::kSubmit:
      return "submit";
    case StoreStep::kClaim:
      return "claim";
    case StoreStep::kResult:
    case StoreStep::kTransition:
      return "transition";
    case StoreStep::kCheckpoint:
    case StoreStep::kEvents:
      return "events";
    case StoreStep::kRead:
      return "read";
    default:
      return "other";
  }
}

absl::string_view FailpointPrefix(StoreStep step) {
  switch (step) {
    case StoreStep::kSubmit:
      return "submit";
    case StoreStep::kClaim:
      return "claim";
    case StoreStep::kCheckpoint:
      return "checkpoint";
    case StoreStep::kResult:
      return "result";
    case StoreStep::kTransition:
    case StoreStep::kEvents:
      return "event";
    case StoreStep::kDelete:
      return "delete";
    default:
      return "";
  }
}

}  // namespace adamant
