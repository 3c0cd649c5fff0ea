// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/job_store.h"
#include "server/store/store_rules.h"

namespace adamant {

struct SqliteStoreOptions {
  std::string path;  // of the database file
  // Called once when a write failed. The store never writes again; the process should exit with 75.
  std::function<void(absl::Status)> on_fatal;
  // Called after every transaction, on the writer's thread, with what dominated it: "submit",
  // "claim", "transition", "events", "read" or "other".
  std::function<void(absl::string_view op, absl::Duration taken)> on_transaction;
  // Called for every failure, on any thread, with what failed: "commit", "read" or "backup".
  std::function<void(absl::string_view op)> on_error;
  LeaseClock clock;       // unset = CLOCK_BOOTTIME
  int64_t max_pages = 0;  // of 4 KiB; a larger file is refused as a full disk is. 0 = no limit
};

// Opens or creates the database, checks it, raises its epoch. DATA_LOSS when the check fails,
// FAILED_PRECONDITION when it was written by a newer version.
absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteStore(SqliteStoreOptions options);

// "3.40.1".
std::string SqliteVersion();

}  // namespace adamant
