// SPDX-License-Identifier: Apache-2.0
#include "server/store/sqlite_backup.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr int kPagesPerStep = 256;

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteBackup>> SqliteBackup::Begin(SqliteDatabase& source,
                                                                  std::string path) {
  Descriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(errno, "cannot create the backup");
  std::unique_ptr<SqliteBackup> backup(new SqliteBackup(std::move(path), std::move(file)));
  RETURN_IF_ERROR(backup->Open(source));
  return backup;
}

absl::Status SqliteBackup::Open(SqliteDatabase& source) {
  int code =
      sqlite3_open_v2(path_.c_str(), &copy_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) return Fail(code);
  // Each step is synced here; nobody reads the copy before it is whole.
  code = sqlite3_exec(copy_, "PRAGMA synchronous=OFF; PRAGMA journal_mode=OFF", nullptr, nullptr,
                      nullptr);
  if (code != SQLITE_OK) return Fail(code);
  backup_ = sqlite3_backup_init(copy_, "main", source.handle_, "main");
  return backup_ != nullptr ? absl::OkStatus() : Fail(sqlite3_errcode(copy_));
}

absl::Status SqliteBackup::Fail(int code) const {
  const std::string text = absl::StrCat("the backup failed: ", sqlite3_errstr(code));
  if ((code & 0xff) == SQLITE_FULL)
    return WithReason(absl::ResourceExhaustedError(text), "STORAGE_FULL");
  return absl::InternalError(text);
}

absl::StatusOr<bool> SqliteBackup::Step() {
  int code = sqlite3_backup_step(backup_, kPagesPerStep);
  if (code != SQLITE_OK && code != SQLITE_DONE) return Fail(code);
  const bool done = code == SQLITE_DONE;
  if (done) {
    code = Close();
    if (code != SQLITE_OK) return Fail(code);
  }
  if (fdatasync(file_.get()) != 0) return ErrnoStatus(errno, "cannot sync the backup");
  if (done) RETURN_IF_ERROR(SyncFolder(FolderOf(path_)));
  whole_ = done;
  return done;
}

int SqliteBackup::Close() {
  const int finished = backup_ != nullptr ? sqlite3_backup_finish(backup_) : SQLITE_OK;
  backup_ = nullptr;
  const int closed = sqlite3_close(copy_);
  copy_ = nullptr;
  return finished != SQLITE_OK ? finished : closed;
}

SqliteBackup::~SqliteBackup() {
  Close();
  if (!whole_) unlink(path_.c_str());
}

}  // namespace adamant
