// SPDX-License-Identifier: Apache-2.0
#include "server/blobs/local_blob_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <functional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/blob_name.h"
#include "common/error_reason.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "server/blobs/blob_files.h"

namespace adamant {
namespace {

constexpr int64_t kSyncBytes = int64_t{64} << 20;
constexpr int64_t kStagingSeconds = 24 * 3600;
constexpr char kCopyPrefix[] = "copy-";
constexpr char kUploadPrefix[] = "upload-";

absl::Status NotFound(const v1::BlobRef& blob) {
  return WithReason(absl::NotFoundError(absl::StrCat(BlobName(blob), " is not stored")),
                    "BLOB_NOT_FOUND", {{"blob", BlobName(blob)}});
}

std::string ObjectPath(const v1::BlobRef& blob) {
  return absl::StrCat(blob.sha256().substr(0, 2), "/", blob.sha256());
}

absl::Status DigestMismatch(const v1::BlobRef& expected, int64_t size, const std::string& digest) {
  return WithReason(
      absl::InvalidArgumentError(absl::StrCat(
          "the bytes do not have the declared identity: expected ", BlobName(expected), ", found ",
          "blobs/", digest, "/", size, "; upload the blob again from the start")),
      "DIGEST_MISMATCH",
      {{"expected", BlobName(expected)}, {"actual", absl::StrCat("blobs/", digest, "/", size)}});
}

}  // namespace

// A file in staging/ with the running digest of what it holds.
class LocalBlobStore::Upload : public BlobUpload {
 public:
  Upload(LocalBlobStore& store, std::string name, v1::BlobRef expected, Descriptor file)
      : store_(store),
        name_(std::move(name)),
        expected_(std::move(expected)),
        file_(std::move(file)) {}

  ~Upload() override {
    file_.Close();
    absl::MutexLock lock(&store_.mutex_);
    store_.open_uploads_.erase(name_);
  }

  // Hashes what an earlier upload left, and reserves the disk for the rest.
  absl::Status Resume() {
    ASSIGN_OR_RETURN(size_, HashFile(file_.get(), expected_.size_bytes(), hash_, nullptr));
    committed_ = size_;
    if (lseek(file_.get(), size_, SEEK_SET) < 0) return DiskStatus(errno, "cannot resume");
    const int64_t rest = expected_.size_bytes() - size_;
    if (rest > 0 && fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, size_, rest) != 0 &&
        errno != EOPNOTSUPP && errno != ENOSYS) {
      const int error = errno;
      if (size_ == 0) Abandon();
      return DiskStatus(error, "cannot reserve space for a blob");
    }
    return absl::OkStatus();
  }

  absl::Status Append(absl::string_view bytes) override {
    if (size_ + static_cast<int64_t>(bytes.size()) > expected_.size_bytes()) {
      return WithReason(absl::OutOfRangeError(absl::StrCat("more bytes than the declared ",
                                                           expected_.size_bytes(), " of the blob")),
                        "BAD_OFFSET", {{"committed_size", absl::StrCat(committed_)}});
    }
    if (absl::Status written = WriteAll(file_.get(), bytes); !written.ok()) {
      return written.code() == absl::StatusCode::kResourceExhausted
                 ? DiskStatus(ENOSPC, "cannot write a blob")
                 : written;
    }
    hash_.Update(bytes);
    size_ += static_cast<int64_t>(bytes.size());
    return size_ - committed_ >= kSyncBytes ? Sync() : absl::OkStatus();
  }

  absl::Status Sync() override {
    if (fsync(file_.get()) != 0) return DiskStatus(errno, "cannot sync a blob");
    committed_ = size_;
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    RETURN_IF_ERROR(Sync());
    const std::string digest = hash_.FinishHex();
    if (size_ != expected_.size_bytes() || digest != expected_.sha256()) {
      Abandon();
      return DigestMismatch(expected_, size_, digest);
    }
    return store_.Publish(name_, expected_);
  }

  void Abandon() override { unlinkat(store_.staging_.get(), name_.c_str(), 0); }

  int64_t size() const override { return size_; }
  int64_t committed_size() const override { return committed_; }

 private:
  LocalBlobStore& store_;
  const std::string name_;
  const v1::BlobRef expected_;
  Descriptor file_;
  Sha256 hash_;
  int64_t size_ = 0;
  int64_t committed_ = 0;
};

absl::StatusOr<std::unique_ptr<LocalBlobStore>> LocalBlobStore::Open(const std::string& folder) {
  auto store = std::unique_ptr<LocalBlobStore>(new LocalBlobStore());
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return DiskStatus(errno, "cannot create the folder of the blob store");
  store->root_ = Descriptor(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!store->root_.valid()) return ErrnoStatus(errno, "cannot open the folder of the blob store");
  ASSIGN_OR_RETURN(store->objects_, MakeFolder(store->root_, "objects"));
  ASSIGN_OR_RETURN(store->staging_, MakeFolder(store->root_, "staging"));
  RETURN_IF_ERROR(store->CleanStaging());
  RETURN_IF_ERROR(store->CountObjects());
  return store;
}

absl::Status LocalBlobStore::CountObjects() {
  ASSIGN_OR_RETURN(const std::vector<v1::BlobRef> blobs, List());
  absl::MutexLock lock(&mutex_);
  for (const v1::BlobRef& blob : blobs) {
    totals_.count += 1;
    totals_.bytes += blob.size_bytes();
  }
  return absl::OkStatus();
}

absl::Status LocalBlobStore::CleanStaging() {
  const time_t now = std::time(nullptr);
  return ForEachName(staging_, [this, now](const std::string& name) {
    struct stat info {};
    const bool old = fstatat(staging_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
                     now - info.st_mtime > kStagingSeconds;
    if (old || !absl::StartsWith(name, kUploadPrefix)) unlinkat(staging_.get(), name.c_str(), 0);
  });
}

absl::StatusOr<std::unique_ptr<BlobUpload>> LocalBlobStore::Stage(const std::string& name,
                                                                  const v1::BlobRef& expected) {
  {
    absl::MutexLock lock(&mutex_);
    if (!open_uploads_.insert(name).second)
      return absl::FailedPreconditionError("this upload is already being written by another call");
  }
  // The object exists before the file so that its destructor frees the name on every return.
  const int exclusive = absl::StartsWith(name, kCopyPrefix) ? O_EXCL : 0;
  Descriptor file = OpenBeneath(staging_, name, O_RDWR | O_CREAT | exclusive);
  const int error = errno;
  const bool opened = file.valid();
  auto upload = std::make_unique<Upload>(*this, name, expected, std::move(file));
  if (!opened) return DiskStatus(error, "cannot stage a blob");
  RETURN_IF_ERROR(upload->Resume());
  return upload;
}

absl::Status LocalBlobStore::Put(int fd, const v1::BlobRef& expected) {
  RETURN_IF_ERROR(CheckBlobRef(expected));
  if (Stat(expected).ok()) return Open(expected).status();
  std::string name;
  {
    absl::MutexLock lock(&mutex_);
    name = absl::StrCat(kCopyPrefix, ++copies_);
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<BlobUpload> copy, Stage(name, expected));
  Sha256 hash;
  const absl::StatusOr<int64_t> copied =
      HashFile(fd, expected.size_bytes(), hash,
               [&copy](absl::string_view bytes) { return copy->Append(bytes); });
  if (!copied.ok()) {
    copy->Abandon();
    return copied.status();
  }
  ASSIGN_OR_RETURN(const int64_t source_size, FileSize(fd));
  if (source_size != expected.size_bytes()) {
    copy->Abandon();
    return DigestMismatch(expected, source_size, hash.FinishHex());
  }
  return copy->Finish();
}

absl::StatusOr<v1::BlobRef> LocalBlobStore::PutBytes(absl::string_view bytes) {
  v1::BlobRef blob;
  blob.set_sha256(Sha256Hex(bytes));
  blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
  if (Stat(blob).ok()) {
    RETURN_IF_ERROR(Open(blob).status());
    return blob;
  }
  std::string name;
  {
    absl::MutexLock lock(&mutex_);
    name = absl::StrCat(kCopyPrefix, ++copies_);
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<BlobUpload> copy, Stage(name, blob));
  if (absl::Status written = copy->Append(bytes); !written.ok()) {
    copy->Abandon();
    return written;
  }
  RETURN_IF_ERROR(copy->Finish());
  return blob;
}

namespace {

std::string UploadFile(absl::string_view upload_id, const v1::BlobRef& expected) {
  return absl::StrCat(kUploadPrefix, absl::AsciiStrToLower(upload_id), "-", expected.sha256(), "-",
                      expected.size_bytes());
}

absl::Status CheckUpload(absl::string_view upload_id, const v1::BlobRef& expected) {
  if (!IsUuid(upload_id))
    return WithReason(absl::InvalidArgumentError("the id of an upload must be a UUID"),
                      "INVALID_SPEC");
  return CheckBlobRef(expected);
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlobUpload>> LocalBlobStore::Begin(absl::string_view upload_id,
                                                                  const v1::BlobRef& expected) {
  RETURN_IF_ERROR(CheckUpload(upload_id, expected));
  return Stage(UploadFile(upload_id, expected), expected);
}

absl::StatusOr<int64_t> LocalBlobStore::StagedSize(absl::string_view upload_id,
                                                   const v1::BlobRef& expected) {
  RETURN_IF_ERROR(CheckUpload(upload_id, expected));
  struct stat info {};
  if (fstatat(staging_.get(), UploadFile(upload_id, expected).c_str(), &info,
              AT_SYMLINK_NOFOLLOW) != 0) {
    return WithReason(absl::NotFoundError("nothing is stored of this upload; start at 0"),
                      "UPLOAD_NOT_FOUND");
  }
  return static_cast<int64_t>(info.st_size);
}

absl::Status LocalBlobStore::Publish(const std::string& staged, const v1::BlobRef& blob) {
  absl::Status linked = LinkObject(staged, blob);
  if (absl::IsAlreadyExists(linked)) {
    absl::StatusOr<Descriptor> present = Open(blob);  // verifies it, quarantines a damaged one
    if (present.ok()) {
      unlinkat(staging_.get(), staged.c_str(), 0);
      return absl::OkStatus();
    }
    linked = LinkObject(staged, blob);
  }
  RETURN_IF_ERROR(linked);
  absl::MutexLock lock(&mutex_);
  verified_.insert(blob.sha256());
  totals_.count += 1;
  totals_.bytes += blob.size_bytes();
  return absl::OkStatus();
}

absl::Status LocalBlobStore::LinkObject(const std::string& staged, const v1::BlobRef& blob) {
  ASSIGN_OR_RETURN(const Descriptor folder, MakeFolder(objects_, blob.sha256().substr(0, 2)));
  const char* name = blob.sha256().c_str();
  int failed = renameat2(staging_.get(), staged.c_str(), folder.get(), name, RENAME_NOREPLACE);
  if (failed != 0 && (errno == EINVAL || errno == ENOSYS)) {  // file systems without the flag
    failed = linkat(staging_.get(), staged.c_str(), folder.get(), name, 0);
    if (failed == 0) unlinkat(staging_.get(), staged.c_str(), 0);
  }
  if (failed != 0) return DiskStatus(errno, "cannot publish a blob");
  if (fsync(folder.get()) != 0) return DiskStatus(errno, "cannot sync a folder of the blob store");
  return absl::OkStatus();
}

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

absl::Status LocalBlobStore::Quarantine(const v1::BlobRef& blob) {
  ASSIGN_OR_RETURN(const Descriptor folder, MakeFolder(root_, "quarantine"));
  struct stat info {};
  const std::string path = ObjectPath(blob);
  if (fstatat(objects_.get(), path.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
      renameat(objects_.get(), path.c_str(), folder.get(), blob.sha256().c_str()) == 0) {
    absl::MutexLock lock(&mutex_);
    totals_.count -= 1;
    totals_.bytes -= info.st_size;
  }
  return WithReason(
      absl::DataLossError(absl::StrCat("the stored bytes of ", BlobName(blob),
                                       " are damaged and were set aside; upload the blob again")),
      "BLOB_CORRUPT", {{"blob", BlobName(blob)}});
}

absl::Status LocalBlobStore::Stat(const v1::BlobRef& blob) {
  RETURN_IF_ERROR(CheckBlobRef(blob));
  struct stat info {};
  if (fstatat(objects_.get(), ObjectPath(blob).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? NotFound(blob) : ErrnoStatus(errno, "cannot look up a blob");
  return info.st_size == blob.size_bytes() ? absl::OkStatus() : NotFound(blob);
}

absl::Status LocalBlobStore::Remove(const v1::BlobRef& blob) {
  if (absl::Status present = Stat(blob); !present.ok())
    return absl::IsNotFound(present) ? absl::OkStatus() : present;
  if (unlinkat(objects_.get(), ObjectPath(blob).c_str(), 0) != 0)
    return errno == ENOENT ? absl::OkStatus() : ErrnoStatus(errno, "cannot remove a blob");
  absl::MutexLock lock(&mutex_);
  verified_.erase(blob.sha256());
  totals_.count -= 1;
  totals_.bytes -= blob.size_bytes();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::BlobRef>> LocalBlobStore::List() {
  std::vector<v1::BlobRef> blobs;
  std::vector<std::string> folders;
  RETURN_IF_ERROR(
      ForEachName(objects_, [&folders](const std::string& name) { folders.push_back(name); }));
  for (const std::string& name : folders) {
    const Descriptor folder = OpenBeneath(objects_, name, O_RDONLY | O_DIRECTORY);
    if (!folder.valid()) continue;
    RETURN_IF_ERROR(ForEachName(folder, [&](const std::string& file) {
      v1::BlobRef blob;
      struct stat info {};
      if (fstatat(folder.get(), file.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return;
      blob.set_sha256(file);
      blob.set_size_bytes(info.st_size);
      if (CheckBlobRef(blob).ok()) blobs.push_back(std::move(blob));
    }));
  }
  return blobs;
}

BlobTotals LocalBlobStore::totals() const {
  absl::MutexLock lock(&mutex_);
  return totals_;
}

}  // namespace adamant
