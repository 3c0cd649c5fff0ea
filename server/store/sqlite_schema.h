// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "server/store/sqlite_database.h"

namespace adamant {

inline constexpr int64_t kSchemaVersion = 2;

// Inside a transaction: creates the tables in an empty file, or brings those of an older version up
// to date. FAILED_PRECONDITION when a newer version wrote them.
absl::Status PrepareSchema(SqliteDatabase& database);

}  // namespace adamant
