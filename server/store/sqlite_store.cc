// SPDX-License-Identifier: Apache-2.0
#include "server/store/sqlite_store.h"

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/store/basic_store.h"
#include "server/store/commit_queue.h"
#include "server/store/sqlite_backup.h"
#include "server/store/sqlite_database.h"
#include "server/store/sqlite_schema.h"
#include "server/store/sqlite_tables.h"

namespace adamant {
namespace {

class SqliteStore final : public BasicStore {
 public:
  explicit SqliteStore(LeaseClock clock) : BasicStore(tables_, std::move(clock)) {}
  ~SqliteStore() override {
    closing_ = true;
    queue_.reset();  // its commands use the tables
  }

  absl::Status Open(SqliteStoreOptions& options);
  void Backup(std::string path, Reply<Done> reply) override;

 private:
  // Shared by the steps of one backup. `copy` belongs to the writer thread, `reply` to the reply
  // thread.
  struct BackupRun {
    std::string path;
    Reply<Done> reply;
    std::unique_ptr<SqliteBackup> copy;
  };

  absl::Status CheckPages();
  void AddBackupStep(std::shared_ptr<BackupRun> run);
  absl::StatusOr<bool> StepBackup(BackupRun& run);

  SqliteDatabase database_;  // once the queue runs: writer thread only
  SqliteTables tables_{database_};
  std::function<void(absl::string_view)> on_error_;  // may be unset
  std::atomic<bool> closing_{false};
  std::unique_ptr<CommitQueue> queue_;
};

absl::Status SqliteStore::CheckPages() {
  SqliteQuery check(database_, "PRAGMA quick_check(1)");
  if (check.Next() && check.TextAt(0) != "ok") {
    return absl::DataLossError(
        absl::StrCat("the store is damaged: ", check.TextAt(0), "; restore it from a backup"));
  }
  return database_.status();
}

absl::Status SqliteStore::Open(SqliteStoreOptions& options) {
  RETURN_IF_ERROR(database_.Open(options.path));
  RETURN_IF_ERROR(database_.Execute("BEGIN IMMEDIATE"));
  RETURN_IF_ERROR(CheckPages());
  RETURN_IF_ERROR(PrepareSchema(database_));
  RETURN_IF_ERROR(
      database_.Execute("INSERT INTO meta(key, value) VALUES('epoch', 1) "
                        "ON CONFLICT(key) DO UPDATE SET value = value + 1; COMMIT"));
  if (options.max_pages > 0) {
    RETURN_IF_ERROR(
        database_.Execute(absl::StrCat("PRAGMA max_page_count=", options.max_pages).c_str()));
  }
  on_error_ = options.on_error;
  queue_ = std::make_unique<CommitQueue>(
      TransactionHooks{.begin = [this] { return database_.Execute("BEGIN IMMEDIATE"); },
                       .commit = [this] { return database_.Execute("COMMIT"); },
                       .rollback = [this] { return database_.Rollback(); },
                       .status = [this] { return database_.status(); },
                       .on_fatal = std::move(options.on_fatal),
                       .on_transaction = std::move(options.on_transaction),
                       .on_error = options.on_error});
  Start(*queue_);
  return database_.status();
}

absl::StatusOr<bool> SqliteStore::StepBackup(BackupRun& run) {
  if (closing_) return absl::CancelledError("the store closes; the backup was given up");
  if (run.copy == nullptr) {
    ASSIGN_OR_RETURN(run.copy, SqliteBackup::Begin(database_, run.path));
  }
  return run.copy->Step();
}

// The next step is queued by the writer thread itself, which therefore cannot end before.
void SqliteStore::AddBackupStep(std::shared_ptr<BackupRun> run) {
  auto outcome = std::make_shared<absl::StatusOr<bool>>(false);
  StoreCommand command;
  command.run = [this, run, outcome](StoreEffect& /*effect*/) {
    *outcome = StepBackup(*run);
    if (outcome->ok() && !**outcome) return AddBackupStep(run);
    run->copy.reset();
  };
  command.finish = [this, run, outcome](const absl::Status& commit) {
    const bool over = !commit.ok() || !outcome->ok() || **outcome;
    if (!over || !run->reply) return;
    const Reply<Done> reply = std::exchange(run->reply, nullptr);
    if (!commit.ok()) return reply(commit);
    if (!outcome->ok() && !absl::IsCancelled(outcome->status()) && on_error_) on_error_("backup");
    if (!outcome->ok()) return reply(outcome->status());
    reply(Done{});
  };
  executor().Add(std::move(command));
}

void SqliteStore::Backup(std::string path, Reply<Done> reply) {
  AddBackupStep(std::make_shared<BackupRun>(BackupRun{std::move(path), std::move(reply), nullptr}));
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteStore(SqliteStoreOptions options) {
  auto store = std::make_unique<SqliteStore>(std::move(options.clock));
  RETURN_IF_ERROR(store->Open(options));
  return store;
}

}  // namespace adamant
