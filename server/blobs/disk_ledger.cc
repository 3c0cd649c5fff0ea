// SPDX-License-Identifier: Apache-2.0
#include "server/blobs/disk_ledger.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

absl::StatusOr<DiskSpace> AskDisk(const std::string& folder) {
  struct statvfs info{};
  int failed;
  do {
    failed = statvfs(folder.c_str(), &info);
  } while (failed != 0 && errno == EINTR);
  if (failed != 0) return ErrnoStatus(errno, absl::StrCat("cannot ask for the space of ", folder));
  const auto block = static_cast<int64_t>(info.f_frsize);
  return DiskSpace{static_cast<int64_t>(info.f_blocks) * block,
                   static_cast<int64_t>(info.f_bavail) * block};
}

absl::Status StorageFull(int64_t wanted, const DiskSpace& space, int64_t floor) {
  const std::string what =
      wanted == 0 ? "the disk is nearly full" : absl::StrCat("no room for ", wanted, " bytes");
  return WithReason(
      absl::ResourceExhaustedError(absl::StrCat(what, ": ", space.free_bytes, " of ",
                                                space.capacity_bytes, " bytes are free and ", floor,
                                                " are kept; free space, then try again")),
      "STORAGE_FULL",
      {{"free_bytes", absl::StrCat(space.free_bytes)}, {"kept_bytes", absl::StrCat(floor)}});
}

}  // namespace

DiskReservation::DiskReservation(DiskReservation&& other) noexcept
    : ledger_(std::exchange(other.ledger_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

DiskReservation& DiskReservation::operator=(DiskReservation&& other) noexcept {
  if (this == &other) return *this;
  Spend(bytes_);
  ledger_ = std::exchange(other.ledger_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

void DiskReservation::Spend(int64_t bytes) {
  if (ledger_ == nullptr) return;
  const int64_t spent = std::min(bytes, bytes_);
  bytes_ -= spent;
  absl::MutexLock lock(&ledger_->mutex_);
  ledger_->promised_ -= spent;
}

DiskLedger::DiskLedger(DiskLedgerOptions options)
    : options_([&options] {
        if (!options.space) options.space = [folder = options.folder] { return AskDisk(folder); };
        return std::move(options);
      }()) {}

int64_t DiskLedger::Floor(const DiskSpace& space) const {
  const auto share =
      static_cast<int64_t>(options_.min_free_ratio * static_cast<double>(space.capacity_bytes));
  return std::max(share, options_.reserve_bytes);
}

absl::Status DiskLedger::Admit() { return Reserve(0).status(); }

absl::StatusOr<DiskReservation> DiskLedger::Reserve(int64_t bytes) {
  ASSIGN_OR_RETURN(const DiskSpace space, options_.space());
  return Take(bytes, Floor(space), space);
}

absl::StatusOr<DiskReservation> DiskLedger::ReserveForResults(int64_t bytes) {
  ASSIGN_OR_RETURN(const DiskSpace space, options_.space());
  absl::StatusOr<DiskReservation> taken = Take(bytes, 0, space);
  if (taken.ok() || !ReleaseReserve()) return taken;
  ASSIGN_OR_RETURN(const DiskSpace more, options_.space());
  return Take(bytes, 0, more);
}

absl::StatusOr<DiskReservation> DiskLedger::Take(int64_t bytes, int64_t floor,
                                                 const DiskSpace& space) {
  absl::MutexLock lock(&mutex_);
  if (space.free_bytes - promised_ - floor < bytes) return StorageFull(bytes, space, floor);
  promised_ += bytes;
  return DiskReservation(this, bytes);
}

absl::Status DiskLedger::AdmitTenant(int64_t bytes) {
  ASSIGN_OR_RETURN(const DiskSpace space, options_.space());
  const auto limit =
      static_cast<int64_t>(options_.tenant_ratio * static_cast<double>(space.capacity_bytes));
  if (bytes <= limit) return absl::OkStatus();
  return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                        "the tenant would have ", bytes, " bytes of blobs, at most ", limit,
                        " are allowed; delete jobs, models and data sets that are not needed")),
                    "QUOTA_BYTES", {{"limit", absl::StrCat(limit)}});
}

absl::Status DiskLedger::Tend() {
  if (options_.reserve_bytes == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const DiskSpace space, options_.space());
  absl::MutexLock lock(&mutex_);
  if (has_reserve_) {
    if (space.free_bytes < options_.reserve_bytes / 4) DropReserve();
    return absl::OkStatus();
  }
  const bool room = space.free_bytes - promised_ >= Floor(space) + options_.reserve_bytes;
  return room ? MakeReserve() : absl::OkStatus();
}

absl::Status DiskLedger::MakeReserve() {
  const Descriptor file(
      open(ReservePath().c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return ErrnoStatus(errno, "cannot make the reserve file");
  int error;
  do {
    error = posix_fallocate(file.get(), 0, options_.reserve_bytes);
  } while (error == EINTR);
  if (error != 0) {
    unlink(ReservePath().c_str());
    return ErrnoStatus(error, "cannot fill the reserve file");
  }
  has_reserve_ = true;
  return absl::OkStatus();
}

bool DiskLedger::DropReserve() {
  if (!has_reserve_) return false;
  has_reserve_ = false;
  return unlink(ReservePath().c_str()) == 0;
}

bool DiskLedger::ReleaseReserve() {
  absl::MutexLock lock(&mutex_);
  return DropReserve();
}

bool DiskLedger::has_reserve() const {
  absl::MutexLock lock(&mutex_);
  return has_reserve_;
}

DiskSpace DiskLedger::space() const { return options_.space().value_or(DiskSpace{}); }

}  // namespace adamant
