// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace adamant {

// The connection and its prepared statements. The first error sticks in status() and turns every
// later query into a no-op, so that callers check once per transaction. Used by one thread at a
// time.
class SqliteDatabase {
 public:
  SqliteDatabase() = default;
  ~SqliteDatabase();
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;

  // FAILED_PRECONDITION when another process holds the file.
  absl::Status Open(const std::string& path);
  absl::Status Execute(const char* script);
  // Ends the transaction, if one is under way, and forgets an error that only said that the disk is
  // full.
  absl::Status Rollback();
  // RESOURCE_EXHAUSTED = the disk is full and the transaction may be rolled back; DATA_LOSS = the
  // file is damaged; FAILED_PRECONDITION = another process holds it; else INTERNAL.
  const absl::Status& status() const { return status_; }

 private:
  friend class SqliteQuery;
  friend class SqliteBackup;
  sqlite3_stmt* Prepared(const char* sql);
  void Fail(int code);

  sqlite3* handle_ = nullptr;
  absl::flat_hash_map<const char*, sqlite3_stmt*> statements_;  // by address of the SQL literal
  absl::Status status_;
};

// One run of a prepared statement. `sql` must be a literal.
//   SqliteQuery query(db, "SELECT ..."); query.Text(uid); while (query.Next()) query.TextAt(0);
class SqliteQuery {
 public:
  SqliteQuery(SqliteDatabase& database, const char* sql);
  ~SqliteQuery();
  SqliteQuery(const SqliteQuery&) = delete;
  SqliteQuery& operator=(const SqliteQuery&) = delete;

  // Bind the next parameter. The text must live as long as the query.
  SqliteQuery& Int(int64_t value);
  SqliteQuery& Text(absl::string_view value);
  SqliteQuery& Blob(absl::string_view value);

  bool Next();        // steps to the next row
  int64_t Execute();  // runs to the end; returns the number of rows changed

  int64_t IntAt(int column) const;
  std::string TextAt(int column) const;
  absl::string_view BlobAt(int column) const;  // until the next step

 private:
  SqliteDatabase& database_;
  sqlite3_stmt* const statement_;
  int bound_ = 0;
};

}  // namespace adamant
