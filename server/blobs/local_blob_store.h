// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "common/files.h"
#include "server/blobs/blob_holds.h"
#include "server/blobs/blob_store.h"
#include "server/blobs/staged_file.h"

namespace adamant {

struct LocalBlobOptions {
  DiskLedger* ledger = nullptr;  // borrowed; unset = the disk alone decides
  // Called once when the disk could not make bytes durable. May end the process; if it returns,
  // every later change is refused with STORE_UNAVAILABLE.
  std::function<void(const absl::Status&)> on_fatal;
  std::function<void(const v1::BlobRef&)> on_corrupt;  // after a blob was set aside
};

// Blobs as files: objects/ab/<sha256>, uploads in staging/, damaged files moved to quarantine/.
// A file gets its final name only when its bytes are synced and verified, and never replaces
// another. The folder belongs to one process. Thread-safe.
class LocalBlobStore : public BlobStore {
 public:
  // Opens or creates the store below `folder`. Removes unfinished copies and uploads that got no
  // byte for 24 h.
  static absl::StatusOr<std::unique_ptr<LocalBlobStore>> Open(const std::string& folder,
                                                              LocalBlobOptions options = {});

  BlobHold Hold(const v1::BlobRef& blob) override { return holds_->Hold(blob.sha256()); }
  absl::Status Put(int fd, const v1::BlobRef& expected) override;
  absl::StatusOr<v1::BlobRef> PutBytes(absl::string_view bytes) override;
  absl::StatusOr<DiskReservation> ReserveOutput(int64_t bytes) override;
  absl::StatusOr<std::unique_ptr<BlobUpload>> Begin(const UploadKey& key) override;
  absl::StatusOr<int64_t> StagedSize(const UploadKey& key) override;
  absl::StatusOr<int64_t> StagedBytes(absl::string_view tenant) override;
  absl::Status CleanStaging(absl::Time now) override;
  absl::StatusOr<Descriptor> Open(const v1::BlobRef& blob) override;
  absl::Status Stat(const v1::BlobRef& blob) override;
  absl::StatusOr<std::vector<v1::BlobRef>> List(absl::Time time) override;
  void Condemn(const std::vector<v1::BlobRef>& blobs) override;
  absl::StatusOr<bool> Remove(const v1::BlobRef& blob) override;
  absl::StatusOr<int64_t> CheckSizes(const std::vector<v1::BlobRef>& rows) override;
  absl::Status Scrub(const v1::BlobRef& blob,
                     const std::function<bool(int64_t bytes)>& pace) override;
  BlobTotals totals() const override;

 private:
  class Upload;
  // An upload that is alive: what another call may know of it.
  struct OpenUpload {
    std::shared_ptr<std::atomic<int64_t>> committed;
    int64_t declared = 0;
    bool abandoned = false;
  };

  explicit LocalBlobStore(LocalBlobOptions options) : options_(std::move(options)) {}
  absl::Status CountObjects();
  absl::StatusOr<std::unique_ptr<Upload>> Stage(const std::string& name,
                                                const v1::BlobRef& expected);
  absl::StatusOr<std::unique_ptr<Upload>> StageCopy(const v1::BlobRef& expected);
  absl::Status PutOnce(int fd, const v1::BlobRef& expected);
  absl::Status PutBytesOnce(absl::string_view bytes, const v1::BlobRef& blob);
  // Runs `put` again when it found no space and the reserve file had some.
  absl::Status WithReserve(const std::function<absl::Status()>& put);
  // Gives a synced, verified staging file its final name.
  absl::Status Publish(const std::string& staged, const v1::BlobRef& blob, const WriteSteps& steps);
  absl::Status LinkObject(const std::string& staged, const v1::BlobRef& blob,
                          const WriteSteps& steps);
  // Checks length and digest unless this process did so before; a damaged file is quarantined.
  absl::Status Verify(int fd, const v1::BlobRef& blob);
  absl::Status Quarantine(const v1::BlobRef& blob);
  // The disk failed to make bytes durable: nothing may be acknowledged any more.
  absl::Status Lose(absl::Status status);
  absl::Status CheckUsable() const;

  const LocalBlobOptions options_;
  const std::shared_ptr<BlobHolds> holds_ = std::make_shared<BlobHolds>();
  Descriptor root_;
  Descriptor objects_;
  Descriptor staging_;
  std::atomic<bool> lost_{false};
  std::atomic<int64_t> copies_{0};  // names of staged copies

  mutable absl::Mutex mutex_;
  absl::flat_hash_set<std::string> verified_ ABSL_GUARDED_BY(mutex_);                  // digests
  absl::flat_hash_map<std::string, OpenUpload> open_uploads_ ABSL_GUARDED_BY(mutex_);  // by name
  BlobTotals totals_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace adamant
