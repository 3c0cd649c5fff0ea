// SPDX-License-Identifier: Apache-2.0
#include "server/blobs/staged_file.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/failpoint.h"
#include "common/status_macros.h"
#include "server/blobs/blob_files.h"

namespace adamant {
namespace {

// With what a connection may hold beside, a break costs a client less than 64 MiB.
constexpr int64_t kSyncBytes = int64_t{48} << 20;
// The disk begins to write early, so that a sync finds little left to wait for.
constexpr int64_t kWritebackBytes = int64_t{4} << 20;
constexpr size_t kMaxVectors = 64;

}  // namespace

StagedFile::StagedFile(Descriptor file, int64_t declared, const WriteSteps& steps,
                       std::shared_ptr<std::atomic<int64_t>> committed)
    : file_(std::move(file)),
      declared_(declared),
      steps_(steps),
      committed_(std::move(committed)) {}

StagedFile::~StagedFile() {
  // Drops the preallocated blocks behind the end: the file may wait for its next byte for a day. A
  // failure costs space, not bytes.
  if (file_.valid() && size_ < declared_) static_cast<void>(!ftruncate(file_.get(), size_));
}

absl::Status StagedFile::Resume() {
  ASSIGN_OR_RETURN(size_, HashFile(file_.get(), declared_, hash_, nullptr));
  if (ftruncate(file_.get(), size_) != 0) return DiskStatus(errno, "cannot resume an upload");
  writeback_ = size_;
  if (size_ > 0) return Sync();
  *committed_ = 0;
  return absl::OkStatus();
}

absl::Status StagedFile::Allocate(DiskReservation reservation) {
  reservation_ = std::move(reservation);
  if (size_ == declared_) return absl::OkStatus();
  const int failed = Interruptible(steps_.allocate, [this] {
    return fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, size_, declared_ - size_);
  });
  if (failed == 0) {
    reservation_ = DiskReservation();
    return absl::OkStatus();
  }
  if (errno == EOPNOTSUPP || errno == ENOSYS) return absl::OkStatus();
  return DiskStatus(errno, "cannot reserve space for a blob");
}

absl::Status StagedFile::Append(absl::Span<const absl::string_view> pieces) {
  RETURN_IF_ERROR(failed_);
  int64_t total = 0;
  for (const absl::string_view piece : pieces) total += static_cast<int64_t>(piece.size());
  if (size_ + total > declared_) {
    return WithReason(absl::OutOfRangeError(
                          absl::StrCat("more bytes than the declared ", declared_, " of the blob")),
                      "BAD_OFFSET", {{"committed_size", absl::StrCat(committed())}});
  }
  if (absl::Status written = WritePieces(pieces, total); !written.ok())
    return Fail(std::move(written));
  for (const absl::string_view piece : pieces) hash_.Update(piece);
  size_ += total;
  reservation_.Spend(total);
  if (size_ - committed() >= kSyncBytes) return Sync();
  StartWriteback();
  return absl::OkStatus();
}

absl::Status StagedFile::WritePieces(absl::Span<const absl::string_view> pieces, int64_t total) {
  int64_t done = 0;
  size_t next = 0;     // first piece that is not written whole
  size_t skipped = 0;  // bytes of it that are
  while (done < total) {
    std::array<iovec, kMaxVectors> vectors;
    int count = 0;
    for (size_t i = next; i < pieces.size() && count < static_cast<int>(kMaxVectors); ++i) {
      const absl::string_view rest = pieces[i].substr(i == next ? skipped : 0);
      if (!rest.empty()) vectors[count++] = {const_cast<char*>(rest.data()), rest.size()};
    }
    ssize_t written = WriteVectors(steps_.write, file_.get(), vectors.data(), count, size_ + done);
    if (written < 0) return DiskStatus(errno, "cannot write a blob");
    done += written;
    for (written += static_cast<ssize_t>(skipped);
         next < pieces.size() && written >= static_cast<ssize_t>(pieces[next].size()); ++next)
      written -= static_cast<ssize_t>(pieces[next].size());
    skipped = static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

void StagedFile::StartWriteback() {
  if (size_ - writeback_ < kWritebackBytes) return;
  sync_file_range(file_.get(), writeback_, size_ - writeback_, SYNC_FILE_RANGE_WRITE);
  writeback_ = size_;
}

absl::Status StagedFile::Sync() {
  RETURN_IF_ERROR(failed_);
  if (SyncDescriptor(steps_.sync, file_.get()) != 0) {
    lost_ = errno != ENOSPC && errno != EDQUOT;
    return Fail(DiskStatus(errno, "cannot sync a blob"));
  }
  *committed_ = size_;
  writeback_ = size_;
  return absl::OkStatus();
}

absl::Status StagedFile::Fail(absl::Status status) {
  failed_ = status;
  size_ = std::max<int64_t>(committed(), 0);
  if (ftruncate(file_.get(), size_) != 0) lost_ = true;
  return status;
}

}  // namespace adamant
