// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/collector.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/failpoint.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "server/blobs/scrubber.h"
#include "server/store/await.h"
#include "server/telemetry/log.h"

namespace adamant {
namespace {

constexpr int kBatch = 1000;
constexpr char kBackupPrefix[] = "store-";
constexpr char kBackupSuffix[] = ".db";
constexpr char kBackupTime[] = "%E4Y%m%dT%H%M%SZ";

void LogFailure(absl::string_view what, const absl::Status& status) {
  if (status.ok() || absl::IsCancelled(status)) return;
  Log(LogLevel::kWarning, "housekeeping", absl::StrCat(what, " failed: ", status.message()));
}

// When the backup of that file name was written.
absl::StatusOr<absl::Time> BackupTime(absl::string_view name) {
  absl::Time time;
  std::string error;
  if (absl::ConsumePrefix(&name, kBackupPrefix) && absl::ConsumeSuffix(&name, kBackupSuffix) &&
      absl::ParseTime(kBackupTime, std::string(name), absl::UTCTimeZone(), &time, &error)) {
    return time;
  }
  return absl::NotFoundError("not a backup");
}

// The backups in a folder, oldest first.
std::map<absl::Time, std::string> Backups(const std::string& folder) {
  std::map<absl::Time, std::string> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const absl::StatusOr<absl::Time> time = BackupTime(entry.path().filename().string());
    if (time.ok()) found.emplace(*time, entry.path().string());
  }
  return found;
}

}  // namespace

Collector::Collector(JobStore& store, BlobStore& blobs, DiskLedger* ledger,
                     CollectorOptions options)
    : store_(store),
      blobs_(blobs),
      ledger_(ledger),
      options_(std::move(options)),
      started_(options_.now()) {}

Collector::~Collector() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (tend_thread_.joinable()) tend_thread_.join();
  if (scrub_thread_.joinable()) scrub_thread_.join();
}

void Collector::Start() {
  tend_thread_ = std::thread([this] { TendLoop(); });
  scrub_thread_ = std::thread([this] { ScrubLoop(); });
}

bool Collector::WaitFor(absl::Duration duration) {
  absl::MutexLock lock(&mutex_);
  return !mutex_.AwaitWithTimeout(absl::Condition(&stopping_), duration);
}

bool Collector::stopping() const {
  absl::MutexLock lock(&mutex_);
  return stopping_;
}

void Collector::TendLoop() {
  absl::Time next_round = absl::InfinitePast();
  absl::Time next_sweep = absl::InfinitePast();
  do {
    if (ledger_ != nullptr) LogFailure("the reserve file", ledger_->Tend());
    const absl::Time now = options_.now();
    if (now >= next_sweep) {
      LogFailure("looking for stray objects", Sweep().status());
      LogFailure("looking for stray logs", SweepLogs().status());
      next_sweep = now + options_.sweep_every;
    }
    if (now >= next_round) {
      LogFailure("collecting garbage", Collect().status());
      LogFailure("dropping stale uploads", blobs_.CleanStaging(now));
      next_round = now + options_.period;
    }
  } while (WaitFor(options_.tend_every));
}

void Collector::ScrubLoop() {
  absl::BitGen random;
  const auto wait = [this](absl::Duration duration) {
    LogFailure("the backup of the store", BackUpIfDue().status());
    return WaitFor(duration);
  };
  while (!stopping()) {
    ScrubOptions options;
    options.pass = options_.scrub_pass;
    // A server that starts often still looks at every object in the end.
    options.begin_after = absl::StrFormat("%016x", absl::Uniform<uint64_t>(random));
    options.wait = wait;
    LogFailure("checking the stored blobs", Scrub(blobs_, options).status());
    if (!wait(options_.period)) return;
  }
}

absl::StatusOr<int64_t> Collector::Collect() {
  GarbageQuery query;
  query.now = options_.now();
  query.unused_for = options_.unused_for;
  query.limit = kBatch;
  ASSIGN_OR_RETURN(int64_t removed, CollectSome(query));
  query.max_bytes = BytesAboveHighWater();
  if (query.max_bytes <= 0) return removed;
  query.unused_for = options_.lease;
  ASSIGN_OR_RETURN(const int64_t evicted, CollectSome(query));
  return removed + evicted;
}

int64_t Collector::BytesAboveHighWater() const {
  if (ledger_ == nullptr) return 0;
  const DiskSpace space = ledger_->space();
  const auto mark =
      static_cast<int64_t>(options_.high_water_ratio * static_cast<double>(space.capacity_bytes));
  return space.capacity_bytes - space.free_bytes - mark;
}

absl::StatusOr<int64_t> Collector::CollectSome(const GarbageQuery& query) {
  absl::StatusOr<std::vector<v1::BlobRef>> found = Await<std::vector<v1::BlobRef>>(
      [&](Reply<std::vector<v1::BlobRef>> reply) { store_.FindGarbage(query, std::move(reply)); });
  RETURN_IF_ERROR(found.status());
  if (found->empty()) return 0;
  blobs_.Condemn(*found);
  RETURN_IF_ERROR(FailpointStatus("gc.before_row"));
  ASSIGN_OR_RETURN(const std::vector<v1::BlobRef> dropped,
                   Await<std::vector<v1::BlobRef>>([&](Reply<std::vector<v1::BlobRef>> reply) {
                     store_.DropBlobs(*found, query, std::move(reply));
                   }));
  return RemoveObjects(dropped);
}

int64_t Collector::RemoveObjects(const std::vector<v1::BlobRef>& blobs) {
  int64_t removed = 0;
  for (const v1::BlobRef& blob : blobs) {
    if (absl::Status status = FailpointStatus("gc.before_unlink"); !status.ok()) {
      LogFailure("removing an object", status);
      continue;  // the next sweep finds it
    }
    const absl::StatusOr<bool> gone = blobs_.Remove(blob);
    LogFailure("removing an object", gone.status());
    if (gone.ok() && *gone) ++removed;
  }
  if (removed > 0) {
    Log(LogLevel::kInfo, "blobs_removed", "nobody needs these blobs any more",
        {{"objects", removed}});
  }
  return removed;
}

absl::StatusOr<std::vector<v1::BlobRef>> Collector::RowsOf(
    const std::vector<v1::BlobRef>& objects) {
  std::vector<v1::BlobRef> rows;
  for (size_t begin = 0; begin < objects.size(); begin += kBatch) {
    std::vector<std::string> digests;
    for (size_t i = begin; i < std::min(objects.size(), begin + kBatch); ++i)
      digests.push_back(objects[i].sha256());
    ASSIGN_OR_RETURN(std::vector<v1::BlobRef> some,
                     Await<std::vector<v1::BlobRef>>([&](Reply<std::vector<v1::BlobRef>> reply) {
                       store_.FindOwned(std::move(digests), std::move(reply));
                     }));
    rows.insert(rows.end(), some.begin(), some.end());
  }
  return rows;
}

absl::StatusOr<int64_t> Collector::Sweep() {
  ASSIGN_OR_RETURN(const std::vector<v1::BlobRef> objects, blobs_.List(absl::InfiniteFuture()));
  ASSIGN_OR_RETURN(std::vector<v1::BlobRef> rows, RowsOf(objects));
  ASSIGN_OR_RETURN(const int64_t wrong, blobs_.CheckSizes(rows));
  // Younger ones may be about to get their row.
  ASSIGN_OR_RETURN(std::vector<v1::BlobRef> strays, blobs_.List(options_.now() - options_.lease));
  const auto drop_owned = [&] {
    std::set<std::string> owned;
    for (const v1::BlobRef& row : rows) owned.insert(row.sha256());
    std::erase_if(strays, [&](const v1::BlobRef& blob) { return owned.count(blob.sha256()) > 0; });
  };
  drop_owned();
  if (strays.empty()) return wrong;
  // Asked again after the condemnation: a row that came before it is seen, one that comes later has
  // a hold that ends it.
  blobs_.Condemn(strays);
  ASSIGN_OR_RETURN(rows, RowsOf(strays));
  drop_owned();
  return wrong + RemoveObjects(strays);
}

absl::StatusOr<int64_t> Collector::SweepLogs() {
  if (options_.log_folder.empty()) return 0;
  int64_t removed = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options_.log_folder, error)) {
    if (stopping()) return removed;
    // A job has its first event as long as it exists, and its folder never before it.
    const EventQuery first{entry.path().filename().string(), 0, 1, {}};
    ASSIGN_OR_RETURN(const EventPage page, Await<EventPage>([&](Reply<EventPage> reply) {
                       store_.ReadEvents(first, std::move(reply));
                     }));
    if (!page.events.empty()) continue;
    std::filesystem::remove_all(entry.path(), error);
    if (!error) ++removed;
  }
  if (removed > 0) Log(LogLevel::kInfo, "logs_removed", "their jobs are gone", {{"jobs", removed}});
  return removed;
}

absl::StatusOr<bool> Collector::BackUpIfDue() {
  if (options_.backup_folder.empty() || options_.backup_every <= absl::ZeroDuration()) return false;
  const std::map<absl::Time, std::string> backups = Backups(options_.backup_folder);
  const absl::Time now = options_.now();
  const absl::Time due = backups.empty() ? started_ + options_.first_backup_after
                                         : backups.rbegin()->first + options_.backup_every;
  if (now < due) return false;
  std::error_code error;
  std::filesystem::create_directories(options_.backup_folder, error);
  const std::string name = absl::FormatTime(kBackupTime, now, absl::UTCTimeZone());
  RETURN_IF_ERROR(
      WriteBackup(absl::StrCat(options_.backup_folder, "/", kBackupPrefix, name, kBackupSuffix)));
  KeepNewestBackups();
  return true;
}

absl::Status Collector::WriteBackup(const std::string& path) {
  struct Outcome {
    absl::Mutex mutex;
    bool done = false;
    absl::Status status;
  };
  const std::string part = absl::StrCat(options_.backup_folder, "/part");
  std::error_code error;
  std::filesystem::remove(part, error);
  const auto outcome = std::make_shared<Outcome>();
  store_.Backup(part, [outcome](absl::StatusOr<Done> done) {
    absl::MutexLock lock(&outcome->mutex);
    outcome->status = done.status();
    outcome->done = true;
  });
  // A large store takes minutes; the end of the server does not wait for it.
  while (true) {
    absl::MutexLock lock(&outcome->mutex);
    if (outcome->mutex.AwaitWithTimeout(absl::Condition(&outcome->done), absl::Seconds(1))) break;
    if (stopping()) return absl::CancelledError("the server ends");
  }
  RETURN_IF_ERROR(outcome->status);
  std::filesystem::rename(part, path, error);
  if (error) return ErrnoStatus(error.value(), absl::StrCat("cannot rename to ", path));
  return SyncFolder(options_.backup_folder);
}

void Collector::KeepNewestBackups() {
  const std::map<absl::Time, std::string> backups = Backups(options_.backup_folder);
  size_t excess = backups.size() - std::min(backups.size(), options_.backups_kept);
  for (const auto& [time, path] : backups) {
    if (excess == 0) return;
    std::error_code error;
    std::filesystem::remove(path, error);
    --excess;
  }
}

}  // namespace adamant
