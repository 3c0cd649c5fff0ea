// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adamant/v1/blob.pb.h"
#include "common/files.h"
#include "server/blobs/blob_store.h"

namespace adamant {

// The files one worker writes: unnamed, in the scratch folder. The worker keeps its descriptor, so
// what is published is never the file itself but a copy made while hashing. Not thread-safe.
class WorkerOutputs {
 public:
  static constexpr size_t kMaxOpen = 16;

  WorkerOutputs(BlobStore& blobs, std::string folder) : blobs_(blobs), folder_(std::move(folder)) {}

  // A new file; returns a descriptor to send, owned by this object. INVALID_ARGUMENT for an id in
  // use or a negative size, RESOURCE_EXHAUSTED for too many files or a full disk.
  absl::StatusOr<int> Open(int64_t output_id, int64_t max_bytes);

  // Copies the file into the blob store and drops it, whatever the outcome. INVALID_ARGUMENT when
  // the id is unknown or the content is not `expected`.
  absl::Status Publish(int64_t output_id, const v1::BlobRef& expected);

 private:
  BlobStore& blobs_;
  const std::string folder_;
  struct OpenOutput {
    Descriptor file;
    DiskReservation space;  // for the file and its published copy
  };
  absl::flat_hash_map<int64_t, OpenOutput> open_;
  // Of what was published: the commit that names it comes while the attempt lives.
  std::vector<BlobHold> holds_;
};

}  // namespace adamant
