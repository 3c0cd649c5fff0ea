// SPDX-License-Identifier: Apache-2.0
// Content-addressed bytes of the server. A blob is named by its SHA-256 and size and never changes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "adamant/v1/blob.pb.h"
#include "common/files.h"
#include "server/blobs/disk_ledger.h"

namespace adamant {

// One upload in progress. Bytes that Sync has returned for survive the object and the process: a
// later BlobStore::Begin with the same arguments goes on behind them. Not thread-safe.
class BlobUpload {
 public:
  virtual ~BlobUpload() = default;

  // Adds bytes, one piece after the other, at size(). OUT_OF_RANGE when that would exceed the
  // declared size; RESOURCE_EXHAUSTED when the disk is full. Every 48 MiB it is a Sync too. After
  // an error the upload is over; what was durable stays staged.
  virtual absl::Status Append(absl::Span<const absl::string_view> pieces) = 0;
  absl::Status Append(absl::string_view bytes) { return Append(absl::MakeConstSpan(&bytes, 1)); }

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

// One upload of a tenant. Another id, tenant or blob is another upload.
struct UploadKey {
  std::string tenant;
  std::string id;  // a UUID chosen by the client
  v1::BlobRef blob;
};

struct BlobTotals {
  int64_t count = 0;
  int64_t bytes = 0;
  int64_t capacity_bytes = 0;  // of the volume
  int64_t evictions = 0;       // removed by garbage collection, since the start
  int64_t corruptions = 0;     // set aside, since the start
};

// While a copy lives, garbage collection leaves the object of its digest alone.
using BlobHold = std::shared_ptr<const void>;

// Where blobs live. No path appears here, so that an object store fits behind it. Every call may
// block on the disk: never call it from a gRPC callback. Thread-safe.
//
// Errors of all calls: INVALID_ARGUMENT for a malformed BlobRef, NOT_FOUND / BLOB_NOT_FOUND for an
// absent blob, RESOURCE_EXHAUSTED / STORAGE_FULL, DATA_LOSS / BLOB_CORRUPT, UNAVAILABLE /
// STORE_UNAVAILABLE once the disk failed to make bytes durable, else INTERNAL.
class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // For whoever publishes a blob and then commits a row that names it: take the hold first, drop it
  // after the commit. Never blocks.
  virtual BlobHold Hold(const v1::BlobRef& blob) = 0;

  // Copies `expected.size_bytes` bytes from the start of `fd` while hashing, verifies them and
  // publishes the copy. The position of `fd` is not used. INVALID_ARGUMENT / DIGEST_MISMATCH when
  // its content is not the expected one. For the results of jobs: takes the last of the disk.
  virtual absl::Status Put(int fd, const v1::BlobRef& expected) = 0;

  // Publishes `bytes` and returns their name.
  virtual absl::StatusOr<v1::BlobRef> PutBytes(absl::string_view bytes) = 0;

  // Disk for what a worker writes. RESOURCE_EXHAUSTED / STORAGE_FULL.
  virtual absl::StatusOr<DiskReservation> ReserveOutput(int64_t bytes) = 0;

  // Begins or resumes an upload; the declared size is taken from the disk at once. UNAVAILABLE /
  // RESOURCE_IN_USE while another BlobUpload of the key is alive.
  virtual absl::StatusOr<std::unique_ptr<BlobUpload>> Begin(const UploadKey& key) = 0;

  // Durable bytes of an upload. NOT_FOUND / UPLOAD_NOT_FOUND when nothing is staged.
  virtual absl::StatusOr<int64_t> StagedSize(const UploadKey& key) = 0;

  // Bytes that the tenant has staged or reserved by open uploads.
  virtual absl::StatusOr<int64_t> StagedBytes(absl::string_view tenant) = 0;

  // Drops uploads that got no byte for 24 h.
  virtual absl::Status CleanStaging(absl::Time now) = 0;

  // A read-only descriptor at position 0. The content is verified at the first use in a process.
  virtual absl::StatusOr<Descriptor> Open(const v1::BlobRef& blob) = 0;

  // OK when the blob is present with this size.
  virtual absl::Status Stat(const v1::BlobRef& blob) = 0;

  // Every blob published before `time`, in no particular order.
  virtual absl::StatusOr<std::vector<v1::BlobRef>> List(absl::Time time) = 0;

  // Garbage collection: condemn, remove the rows, then remove. Condemns the blobs that nobody
  // holds and ends earlier condemnations. Never blocks.
  virtual void Condemn(const std::vector<v1::BlobRef>& blobs) = 0;
  // Removes a blob that is condemned still; false when a hold has saved it since. An absent blob
  // counts as removed.
  virtual absl::StatusOr<bool> Remove(const v1::BlobRef& blob) = 0;

  // Sets the objects aside whose size is not the one that their rows tell; returns how many.
  virtual absl::StatusOr<int64_t> CheckSizes(const std::vector<v1::BlobRef>& rows) = 0;

  // Reads the blob and compares it with its digest; a damaged one is set aside: DATA_LOSS. Calls
  // `pace` after each piece; CANCELLED when it returns false.
  virtual absl::Status Scrub(const v1::BlobRef& blob,
                             const std::function<bool(int64_t bytes)>& pace) = 0;

  // Kept up to date in memory: cheap, never blocks on the disk.
  virtual BlobTotals totals() const = 0;
};

}  // namespace adamant
