// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/time/time.h"

namespace adamant {

// Where the life of jobs takes its time from. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // For what people read and what outlives the process; may jump.
  virtual absl::Time Wall() const = 0;
  // For deadlines and leases: never goes back. Only differences mean something.
  virtual absl::Time Steady() const = 0;

  static const Clock& Real();
};

}  // namespace adamant
