// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/blobs/blob_store.h"
#include "server/blobs/disk_ledger.h"
#include "server/store/job_store.h"

namespace adamant {

struct CollectorOptions {
  absl::Duration period = absl::Minutes(1);         // between looks for garbage
  absl::Duration tend_every = absl::Seconds(5);     // the reserve file
  absl::Duration sweep_every = absl::Hours(6);      // objects without a row
  absl::Duration unused_for = absl::Hours(7 * 24);  // then a blob is garbage
  absl::Duration lease = absl::Hours(24);           // before that it never is
  double high_water_ratio = 0.9;                    // of the volume; above it `lease` is enough
  absl::Duration scrub_pass = absl::Hours(72);      // one look at every object
  std::string log_folder;                           // of job logs; empty = they are left alone
  std::string backup_folder;                        // empty = no backups
  absl::Duration backup_every = absl::Hours(24);
  absl::Duration first_backup_after = absl::Minutes(10);  // when there is none yet
  size_t backups_kept = 3;
  std::function<absl::Time()> now = [] { return absl::Now(); };
};

// Keeps the data folder in order: removes blobs that nobody needs, objects that no row names, stray
// logs and stale uploads, reads every object once in a while, tends the reserve file and backs the
// store up.
//
// A blob goes in three steps: its digest is condemned, its row removed where pins and leases allow
// it (one transaction), and its object unlinked if no writer of the same digest came between; see
// BlobHolds. A crash after the second step leaves an object without a row, which the next sweep
// removes. Thread-safe.
class Collector {
 public:
  // All are borrowed; `ledger` may be null.
  Collector(JobStore& store, BlobStore& blobs, DiskLedger* ledger, CollectorOptions options);
  ~Collector();

  // Begins the work on two threads of its own; a sweep comes first.
  void Start();

  // One look for garbage; returns how many objects went. Blocks.
  absl::StatusOr<int64_t> Collect();

  // Sets objects of a wrong size aside and removes those that have no row and are older than a
  // lease. Returns how many objects that were. Blocks.
  absl::StatusOr<int64_t> Sweep();

  // Removes the logs of jobs that are no more: a crash after a delete left them. Returns how many.
  // Blocks.
  absl::StatusOr<int64_t> SweepLogs();

  // Writes a backup when one is due and drops all but the newest few. True when it wrote one.
  absl::StatusOr<bool> BackUpIfDue();

 private:
  absl::StatusOr<int64_t> CollectSome(const GarbageQuery& query);
  // Unlinks what is condemned still.
  int64_t RemoveObjects(const std::vector<v1::BlobRef>& blobs);
  absl::StatusOr<std::vector<v1::BlobRef>> RowsOf(const std::vector<v1::BlobRef>& objects);
  int64_t BytesAboveHighWater() const;
  absl::Status WriteBackup(const std::string& path);
  void KeepNewestBackups();
  void TendLoop();
  void ScrubLoop();
  bool WaitFor(absl::Duration duration);  // false when the collector ends
  bool stopping() const;

  JobStore& store_;
  BlobStore& blobs_;
  DiskLedger* const ledger_;
  const CollectorOptions options_;
  const absl::Time started_;
  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread tend_thread_;
  std::thread scrub_thread_;
};

}  // namespace adamant
