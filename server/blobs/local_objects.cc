// SPDX-License-Identifier: Apache-2.0
// The published half of LocalBlobStore: objects/ and quarantine/.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/blob_name.h"
#include "common/error_reason.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "server/blobs/blob_files.h"
#include "server/blobs/blob_names.h"
#include "server/blobs/local_blob_store.h"

namespace adamant {
namespace {

absl::Status NotFound(const v1::BlobRef& blob) {
  return WithReason(absl::NotFoundError(absl::StrCat(BlobName(blob), " is not stored")),
                    "BLOB_NOT_FOUND", {{"blob", BlobName(blob)}});
}

absl::Status Corrupt(const v1::BlobRef& blob) {
  return WithReason(
      absl::DataLossError(absl::StrCat("the stored bytes of ", BlobName(blob),
                                       " are damaged and were set aside; upload the blob again")),
      "BLOB_CORRUPT", {{"blob", BlobName(blob)}});
}

}  // namespace

absl::StatusOr<Descriptor> LocalBlobStore::Open(const v1::BlobRef& blob) {
  RETURN_IF_ERROR(CheckBlobRef(blob));
  Descriptor file = OpenBeneath(objects_, ObjectPath(blob), O_RDONLY);
  if (!file.valid()) return errno == ENOENT ? NotFound(blob) : ErrnoStatus(errno, "cannot open");
  RETURN_IF_ERROR(Verify(file.get(), blob));
  return file;
}

absl::Status LocalBlobStore::Verify(int fd, const v1::BlobRef& blob) {
  ASSIGN_OR_RETURN(const int64_t size, FileSize(fd));
  {
    absl::MutexLock lock(&mutex_);
    if (verified_.contains(blob.sha256()))
      return size == blob.size_bytes() ? absl::OkStatus() : NotFound(blob);
  }
  Sha256 hash;
  RETURN_IF_ERROR(HashFile(fd, size, hash, nullptr).status());
  if (hash.FinishHex() != blob.sha256()) return Quarantine(blob);
  if (size != blob.size_bytes()) return NotFound(blob);
  absl::MutexLock lock(&mutex_);
  verified_.insert(blob.sha256());
  return absl::OkStatus();
}

absl::Status LocalBlobStore::Scrub(const v1::BlobRef& blob,
                                   const std::function<bool(int64_t bytes)>& pace) {
  RETURN_IF_ERROR(CheckBlobRef(blob));
  const Descriptor file = OpenBeneath(objects_, ObjectPath(blob), O_RDONLY);
  if (!file.valid()) return NotFound(blob);
  Sha256 hash;
  int64_t offset = 0;
  RETURN_IF_ERROR(HashFile(file.get(), blob.size_bytes(), hash, [&](absl::string_view piece) {
                    const auto size = static_cast<int64_t>(piece.size());
                    // Nobody else may want these pages; others' should stay.
                    posix_fadvise(file.get(), offset, size, POSIX_FADV_DONTNEED);
                    offset += size;
                    return pace(size) ? absl::OkStatus() : absl::CancelledError("stopped");
                  }).status());
  return hash.FinishHex() == blob.sha256() ? absl::OkStatus() : Quarantine(blob);
}

absl::Status LocalBlobStore::Quarantine(const v1::BlobRef& blob) {
  ASSIGN_OR_RETURN(const Descriptor folder, MakeFolder(root_, "quarantine"));
  struct stat info{};
  const std::string path = ObjectPath(blob);
  if (fstatat(objects_.get(), path.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return Corrupt(blob);
  int moved = -1;
  errno = EEXIST;
  for (int copy = 0; moved != 0 && errno == EEXIST; ++copy) {
    const std::string name = copy == 0 ? blob.sha256() : absl::StrCat(blob.sha256(), ".", copy);
    moved = RenameNew("", objects_.get(), path.c_str(), folder.get(), name.c_str());
  }
  if (moved != 0) return Corrupt(blob);
  {
    absl::MutexLock lock(&mutex_);
    verified_.erase(blob.sha256());
    totals_.count -= 1;
    totals_.bytes -= info.st_size;
    totals_.corruptions += 1;
  }
  if (options_.on_corrupt) options_.on_corrupt(blob);
  return Corrupt(blob);
}

absl::StatusOr<int64_t> LocalBlobStore::CheckSizes(const std::vector<v1::BlobRef>& rows) {
  int64_t found = 0;
  for (const v1::BlobRef& blob : rows) {
    struct stat info{};
    if (!CheckBlobRef(blob).ok() ||
        fstatat(objects_.get(), ObjectPath(blob).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        info.st_size == blob.size_bytes()) {
      continue;
    }
    Quarantine(blob).IgnoreError();
    found += 1;
  }
  return found;
}

absl::Status LocalBlobStore::Stat(const v1::BlobRef& blob) {
  RETURN_IF_ERROR(CheckBlobRef(blob));
  struct stat info{};
  if (fstatat(objects_.get(), ObjectPath(blob).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? NotFound(blob) : ErrnoStatus(errno, "cannot look up a blob");
  return info.st_size == blob.size_bytes() ? absl::OkStatus() : NotFound(blob);
}

void LocalBlobStore::Condemn(const std::vector<v1::BlobRef>& blobs) {
  std::vector<std::string> digests;
  for (const v1::BlobRef& blob : blobs) digests.push_back(blob.sha256());
  holds_->Condemn(digests);
}

absl::StatusOr<bool> LocalBlobStore::Remove(const v1::BlobRef& blob) {
  RETURN_IF_ERROR(CheckBlobRef(blob));
  int error = 0;
  const bool condemned = holds_->IfCondemned(blob.sha256(), [&] {
    if (unlinkat(objects_.get(), ObjectPath(blob).c_str(), 0) != 0) error = errno;
  });
  if (error != 0 && error != ENOENT) return ErrnoStatus(error, "cannot remove a blob");
  if (!condemned || error != 0) return condemned;
  absl::MutexLock lock(&mutex_);
  verified_.erase(blob.sha256());
  totals_.count -= 1;
  totals_.bytes -= blob.size_bytes();
  totals_.evictions += 1;
  return true;
}

absl::StatusOr<std::vector<v1::BlobRef>> LocalBlobStore::List(absl::Time time) {
  std::vector<v1::BlobRef> blobs;
  std::vector<std::string> folders;
  RETURN_IF_ERROR(
      ForEachName(objects_, [&folders](const std::string& name) { folders.push_back(name); }));
  for (const std::string& name : folders) {
    const Descriptor folder = OpenBeneath(objects_, name, O_RDONLY | O_DIRECTORY);
    if (!folder.valid()) continue;
    RETURN_IF_ERROR(ForEachName(folder, [&](const std::string& file) {
      v1::BlobRef blob;
      struct stat info{};
      if (fstatat(folder.get(), file.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
          absl::TimeFromTimespec(info.st_mtim) >= time) {
        return;
      }
      blob.set_sha256(file);
      blob.set_size_bytes(info.st_size);
      if (CheckBlobRef(blob).ok()) blobs.push_back(std::move(blob));
    }));
  }
  return blobs;
}

BlobTotals LocalBlobStore::totals() const {
  const int64_t capacity = options_.ledger == nullptr ? 0 : options_.ledger->space().capacity_bytes;
  absl::MutexLock lock(&mutex_);
  BlobTotals totals = totals_;
  totals.capacity_bytes = capacity;
  return totals;
}

}  // namespace adamant
