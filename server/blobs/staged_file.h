// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/files.h"
#include "common/sha256.h"
#include "server/blobs/disk_ledger.h"

namespace adamant {

// The failpoints of the steps of reliability.md 6.2; empty = none.
struct WriteSteps {
  absl::string_view open;
  absl::string_view allocate;
  absl::string_view write;
  absl::string_view sync;
  absl::string_view rename;
  absl::string_view dirsync;
};
inline constexpr WriteSteps kUploadSteps{
    "", "", "upload.write", "upload.fsync", "upload.rename", "upload.dirsync"};
inline constexpr WriteSteps kOutputSteps{"output.open",  "output.fallocate", "output.write",
                                         "output.fsync", "output.rename",    "output.dirsync"};

// A file in staging/ that grows to a declared size, with the running digest of what it holds. The
// space it lacks is preallocated, and given back when the object goes. After a failed write or sync
// the file is cut back to its durable bytes and every further call returns that error. Not
// thread-safe.
class StagedFile {
 public:
  // `committed` is told of durable bytes, -1 until Resume knows them; another thread may read it.
  StagedFile(Descriptor file, int64_t declared, const WriteSteps& steps,
             std::shared_ptr<std::atomic<int64_t>> committed);
  ~StagedFile();
  StagedFile(const StagedFile&) = delete;
  StagedFile& operator=(const StagedFile&) = delete;

  // Hashes the bytes that are there and makes them count as durable; cuts what exceeds the
  // declared size.
  absl::Status Resume();

  // Takes the space of the missing bytes from the disk, or keeps `reservation` where the file
  // system cannot.
  absl::Status Allocate(DiskReservation reservation);

  // At size(). OUT_OF_RANGE / BAD_OFFSET beyond the declared size.
  absl::Status Append(absl::Span<const absl::string_view> pieces);

  // Makes what was appended durable. A failure other than a full disk is `lost()`.
  absl::Status Sync();

  // The digest of all bytes; nothing may be appended afterwards.
  std::string FinishHex() { return hash_.FinishHex(); }

  int64_t size() const { return size_; }
  int64_t committed() const { return *committed_; }
  // The disk failed to make bytes durable: nobody knows what it holds.
  bool lost() const { return lost_; }

 private:
  absl::Status Fail(absl::Status status);
  absl::Status WritePieces(absl::Span<const absl::string_view> pieces, int64_t total);
  void StartWriteback();

  const Descriptor file_;
  const int64_t declared_;
  const WriteSteps steps_;
  const std::shared_ptr<std::atomic<int64_t>> committed_;
  DiskReservation reservation_;
  Sha256 hash_;
  absl::Status failed_;
  bool lost_ = false;
  int64_t size_ = 0;
  int64_t writeback_ = 0;  // bytes handed to the disk so far
};

}  // namespace adamant
