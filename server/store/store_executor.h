// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace adamant {

// What a transaction did to the store: names its failpoints and its duration metric.
enum class StoreStep {
  kNothing,
  kRead,
  kSubmit,
  kClaim,       // a job became STARTING
  kCheckpoint,  // its events have a CHECKPOINT
  kResult,      // it got its result
  kTransition,  // any other change of state
  kEvents,
  kDelete,
  kOther,
};

// "submit", "claim", "transition", "events", "read" or "other".
absl::string_view MetricName(StoreStep step);
// The failpoint prefix, "submit", "claim", "checkpoint", "result", "event" or "delete"; "" = none.
absl::string_view FailpointPrefix(StoreStep step);

struct StoreEffect {
  StoreStep step = StoreStep::kNothing;
  int event_rows = 0;
};

// One operation. `run` works on the tables; `finish` gets OK once that is durable, or the error
// because of which nothing was stored.
struct StoreCommand {
  bool writes = false;
  bool may_linger = false;  // may wait for company for 20 ms
  std::function<void(StoreEffect&)> run;
  std::function<void(const absl::Status&)> finish;
};

// Where the operations of a store run. Thread-safe.
class StoreExecutor {
 public:
  virtual ~StoreExecutor() = default;
  // Commands that write run in the order in which they come; one that only reads may overtake those
  // that have not begun.
  virtual void Add(StoreCommand command) = 0;
  // OK, or UNAVAILABLE / STORE_UNAVAILABLE for ever after a failed write.
  virtual absl::Status failure() const = 0;
};

}  // namespace adamant
