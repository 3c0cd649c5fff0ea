// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/files.h"
#include "server/store/sqlite_database.h"

struct sqlite3_backup;

namespace adamant {

// A copy under way of an open database, which its own connection may go on writing between steps.
// Used by the thread of that connection.
class SqliteBackup {
 public:
  // ALREADY_EXISTS when there is something at `path`.
  static absl::StatusOr<std::unique_ptr<SqliteBackup>> Begin(SqliteDatabase& source,
                                                             std::string path);
  ~SqliteBackup();  // removes an unfinished copy
  SqliteBackup(const SqliteBackup&) = delete;
  SqliteBackup& operator=(const SqliteBackup&) = delete;

  // Copies and syncs up to 1 MiB. True: the copy is whole and durable.
  absl::StatusOr<bool> Step();

 private:
  SqliteBackup(std::string path, Descriptor file)
      : path_(std::move(path)), file_(std::move(file)) {}

  absl::Status Open(SqliteDatabase& source);
  absl::Status Fail(int code) const;
  int Close();

  const std::string path_;
  Descriptor file_;
  sqlite3* copy_ = nullptr;
  sqlite3_backup* backup_ = nullptr;
  bool whole_ = false;
};

}  // namespace adamant
