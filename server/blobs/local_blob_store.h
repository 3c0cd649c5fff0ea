// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "common/files.h"
#include "server/blobs/blob_store.h"

namespace adamant {

// Blobs as files: objects/ab/<sha256>, uploads in staging/, damaged files moved to quarantine/.
// A file gets its final name only when its bytes are synced and verified, and never replaces
// another. The folder belongs to one process. Thread-safe.
class LocalBlobStore : public BlobStore {
 public:
  // Opens or creates the store below `folder`. Removes unfinished copies and uploads that got no
  // byte for 24 h.
  static absl::StatusOr<std::unique_ptr<LocalBlobStore>> Open(const std::string& folder);

  absl::Status Put(int fd, const v1::BlobRef& expected) override;
  absl::StatusOr<v1::BlobRef> PutBytes(absl::string_view bytes) override;
  absl::StatusOr<std::unique_ptr<BlobUpload>> Begin(absl::string_view upload_id,
                                                    const v1::BlobRef& expected) override;
  absl::StatusOr<int64_t> StagedSize(absl::string_view upload_id,
                                     const v1::BlobRef& expected) override;
  absl::StatusOr<Descriptor> Open(const v1::BlobRef& blob) override;
  absl::Status Stat(const v1::BlobRef& blob) override;
  absl::Status Remove(const v1::BlobRef& blob) override;
  absl::StatusOr<std::vector<v1::BlobRef>> List() override;
  BlobTotals totals() const override;

 private:
  class Upload;

  LocalBlobStore() = default;
  absl::Status CountObjects();
  absl::Status CleanStaging();
  absl::StatusOr<std::unique_ptr<BlobUpload>> Stage(const std::string& name,
                                                    const v1::BlobRef& expected);
  // Gives a synced, verified staging file its final name.
  absl::Status Publish(const std::string& staged, const v1::BlobRef& blob);
  absl::Status LinkObject(const std::string& staged, const v1::BlobRef& blob);
  // Checks length and digest unless this process did so before; a damaged file is quarantined.
  absl::Status Verify(int fd, const v1::BlobRef& blob);
  absl::Status Quarantine(const v1::BlobRef& blob);

  Descriptor root_;
  Descriptor objects_;
  Descriptor staging_;

  mutable absl::Mutex mutex_;
  absl::flat_hash_set<std::string> verified_ ABSL_GUARDED_BY(mutex_);      // digests
  absl::flat_hash_set<std::string> open_uploads_ ABSL_GUARDED_BY(mutex_);  // staging names
  BlobTotals totals_ ABSL_GUARDED_BY(mutex_);
  int64_t copies_ ABSL_GUARDED_BY(mutex_) = 0;  // names of staged copies
};

}  // namespace adamant
