// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace adamant {

struct DiskSpace {
  int64_t capacity_bytes = 0;
  int64_t free_bytes = 0;  // for this process
};

struct DiskLedgerOptions {
  std::string folder;  // on the volume; holds the file `reserve`
  // Space kept back for the results of running jobs; 0 = none.
  int64_t reserve_bytes = int64_t{64} << 20;
  double min_free_ratio = 0.05;
  double tenant_ratio = 0.5;
  std::function<absl::StatusOr<DiskSpace>()> space;  // unset = statvfs of `folder`
};

class DiskLedger;

// Bytes that the ledger counts as taken although the disk still shows them as free. Moves, gives
// back on destruction; must not outlive the ledger. Not thread-safe.
class DiskReservation {
 public:
  DiskReservation() = default;
  ~DiskReservation() { Spend(bytes_); }
  DiskReservation(DiskReservation&& other) noexcept;
  DiskReservation& operator=(DiskReservation&& other) noexcept;

  // So many of them are on the disk now, or no longer wanted.
  void Spend(int64_t bytes);
  int64_t bytes() const { return bytes_; }

 private:
  friend class DiskLedger;
  DiskReservation(DiskLedger* ledger, int64_t bytes) : ledger_(ledger), bytes_(bytes) {}

  DiskLedger* ledger_ = nullptr;
  int64_t bytes_ = 0;
};

// What may still be written to the volume of the data folder (reliability.md 5). New work is
// refused before the disk is full, so that running jobs can record their results; at the very end
// they get the space of the reserve file. The disk is asked each time: what an operator frees
// counts at once. Thread-safe.
class DiskLedger {
 public:
  explicit DiskLedger(DiskLedgerOptions options);

  // Whether new work (an upload, a submit, a registration) may begin. RESOURCE_EXHAUSTED /
  // STORAGE_FULL below the floor: 5 % of the volume or the size of the reserve, the larger.
  absl::Status Admit();

  // As Admit, and `bytes` fit above the floor. They stay reserved while the result lives.
  absl::StatusOr<DiskReservation> Reserve(int64_t bytes);

  // Like Reserve for what a running job writes: down to the last byte, the reserve file included.
  absl::StatusOr<DiskReservation> ReserveForResults(int64_t bytes);

  // RESOURCE_EXHAUSTED / QUOTA_BYTES when a tenant with so many bytes has more than its share.
  absl::Status AdmitTenant(int64_t bytes);

  // Gives the reserve file's space away when the disk is nearly full and takes it back once there
  // is room. Call it at the start and every few seconds.
  absl::Status Tend();
  // Gives the space away now; false when there was none. For a write that found no space.
  bool ReleaseReserve();
  bool has_reserve() const;

  // As the disk says; does not count reservations. {0, 0} when it cannot be asked.
  DiskSpace space() const;

 private:
  friend class DiskReservation;

  std::string ReservePath() const { return options_.folder + "/reserve"; }
  int64_t Floor(const DiskSpace& space) const;
  absl::StatusOr<DiskReservation> Take(int64_t bytes, int64_t floor, const DiskSpace& space);
  absl::Status MakeReserve() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool DropReserve() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const DiskLedgerOptions options_;
  mutable absl::Mutex mutex_;
  int64_t promised_ ABSL_GUARDED_BY(mutex_) = 0;
  bool has_reserve_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace adamant
