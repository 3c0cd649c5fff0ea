// SPDX-License-Identifier: Apache-2.0
// Content-addressed bytes of the server. A blob is named by its SHA-256 and size and never changes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/blob.pb.h"
#include "common/files.h"

namespace adamant {

// One upload in progress. Bytes that Sync has returned for survive the object and the process: a
// later BlobStore::Begin with the same arguments goes on behind them. Not thread-safe.
class BlobUpload {
 public:
  virtual ~BlobUpload() = default;

  // Adds bytes at size(). OUT_OF_RANGE when that would exceed the declared size;
  // RESOURCE_EXHAUSTED when the disk is full.
  virtual absl::Status Append(absl::string_view bytes) = 0;

  // Makes everything appended so far durable.
  virtual absl::Status Sync() = 0;

  // Publishes the blob: on OK it is complete, verified and durable. Publishing a blob that is
  // already there succeeds. INVALID_ARGUMENT / DIGEST_MISMATCH when length or digest differ from
  // the declared ones; the staged bytes are then dropped.
  virtual absl::Status Finish() = 0;

  // Drops the staged bytes.
  virtual void Abandon() = 0;

  virtual int64_t size() const = 0;            // appended bytes
  virtual int64_t committed_size() const = 0;  // durable bytes; never decreases
};

struct BlobTotals {
  int64_t count = 0;
  int64_t bytes = 0;
};

// Where blobs live. No path appears here, so that an object store fits behind it. Every call may
// block on the disk: never call it from a gRPC callback. Thread-safe.
//
// Errors of all calls: INVALID_ARGUMENT for a malformed BlobRef, NOT_FOUND / BLOB_NOT_FOUND for an
// absent blob, RESOURCE_EXHAUSTED / STORAGE_FULL, DATA_LOSS / BLOB_CORRUPT, else INTERNAL.
class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // Copies `expected.size_bytes` bytes from the start of `fd` while hashing, verifies them and
  // publishes the copy. The position of `fd` is not used. INVALID_ARGUMENT / DIGEST_MISMATCH when
  // its content is not the expected one.
  virtual absl::Status Put(int fd, const v1::BlobRef& expected) = 0;

  // Publishes `bytes` and returns their name.
  virtual absl::StatusOr<v1::BlobRef> PutBytes(absl::string_view bytes) = 0;

  // Begins or resumes the upload `upload_id` (a UUID chosen by the client) of the blob `expected`.
  // FAILED_PRECONDITION when another BlobUpload of the same id is alive.
  virtual absl::StatusOr<std::unique_ptr<BlobUpload>> Begin(absl::string_view upload_id,
                                                            const v1::BlobRef& expected) = 0;

  // Durable bytes of an upload. NOT_FOUND / UPLOAD_NOT_FOUND when nothing is staged.
  virtual absl::StatusOr<int64_t> StagedSize(absl::string_view upload_id,
                                             const v1::BlobRef& expected) = 0;

  // A read-only descriptor at position 0. The content is verified at the first use in a process.
  virtual absl::StatusOr<Descriptor> Open(const v1::BlobRef& blob) = 0;

  // OK when the blob is present with this size.
  virtual absl::Status Stat(const v1::BlobRef& blob) = 0;

  // Removing an absent blob succeeds.
  virtual absl::Status Remove(const v1::BlobRef& blob) = 0;

  // Every blob, in no particular order.
  virtual absl::StatusOr<std::vector<v1::BlobRef>> List() = 0;

  // Kept up to date in memory: cheap, never blocks on the disk.
  virtual BlobTotals totals() const = 0;
};

}  // namespace adamant
