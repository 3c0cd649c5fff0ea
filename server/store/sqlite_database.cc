// SPDX-License-Identifier: Apache-2.0
#include "server/store/sqlite_database.h"

#include <sqlite3.h>

#include "absl/strings/str_cat.h"
#include "server/store/sqlite_store.h"

namespace adamant {

SqliteDatabase::~SqliteDatabase() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

absl::Status SqliteDatabase::Open(const std::string& path) {
  const int flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (const int code = sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr); code != SQLITE_OK) {
    Fail(code);
    return status_;
  }
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  return Execute(
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
      "PRAGMA trusted_schema=OFF; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;");
}

absl::Status SqliteDatabase::Execute(const char* script) {
  if (!status_.ok()) return status_;
  const int code = sqlite3_exec(handle_, script, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) Fail(code);
  return status_;
}

absl::Status SqliteDatabase::Rollback() {
  if (!status_.ok() && !absl::IsResourceExhausted(status_)) return status_;
  status_ = absl::OkStatus();
  // SQLite rolls back by itself after some errors.
  return sqlite3_get_autocommit(handle_) != 0 ? absl::OkStatus() : Execute("ROLLBACK");
}

void SqliteDatabase::Fail(int code) {
  if (!status_.ok()) return;
  const std::string text = absl::StrCat("SQLite: ", sqlite3_errstr(code), " (", code,
                                        "): ", handle_ != nullptr ? sqlite3_errmsg(handle_) : "");
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      status_ = absl::FailedPreconditionError(
          absl::StrCat("another process has the store open; stop it first. ", text));
      break;
    case SQLITE_FULL:
      status_ = absl::ResourceExhaustedError(text);
      break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      status_ = absl::DataLossError(
          absl::StrCat("the store is damaged; restore it from a backup. ", text));
      break;
    default:
      status_ = absl::InternalError(text);
  }
}

sqlite3_stmt* SqliteDatabase::Prepared(const char* sql) {
  if (!status_.ok()) return nullptr;
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    const int code =
        sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) Fail(code);
  }
  return statement;
}

SqliteQuery::SqliteQuery(SqliteDatabase& database, const char* sql)
    : database_(database), statement_(database.Prepared(sql)) {}

SqliteQuery::~SqliteQuery() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

SqliteQuery& SqliteQuery::Int(int64_t value) {
  if (statement_ != nullptr) sqlite3_bind_int64(statement_, ++bound_, value);
  return *this;
}

SqliteQuery& SqliteQuery::Text(absl::string_view value) {
  if (statement_ != nullptr)
    sqlite3_bind_text64(statement_, ++bound_, value.data(), value.size(), SQLITE_STATIC,
                        SQLITE_UTF8);
  return *this;
}

SqliteQuery& SqliteQuery::Blob(absl::string_view value) {
  if (statement_ != nullptr)
    sqlite3_bind_blob64(statement_, ++bound_, value.data(), value.size(), SQLITE_STATIC);
  return *this;
}

bool SqliteQuery::Next() {
  if (!database_.status_.ok()) return false;
  const int code = sqlite3_step(statement_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) database_.Fail(code);
  return code == SQLITE_ROW;
}

int64_t SqliteQuery::Execute() {
  while (Next()) {
  }
  return database_.status_.ok() ? sqlite3_changes64(database_.handle_) : 0;
}

int64_t SqliteQuery::IntAt(int column) const { return sqlite3_column_int64(statement_, column); }

std::string SqliteQuery::TextAt(int column) const { return std::string(BlobAt(column)); }

absl::string_view SqliteQuery::BlobAt(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return {static_cast<const char*>(bytes), bytes != nullptr ? static_cast<size_t>(size) : 0};
}

std::string SqliteVersion() { return sqlite3_libversion(); }

}  // namespace adamant
