// SPDX-License-Identifier: Apache-2.0
#include "server/blobs/local_blob_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/blob_name.h"
#include "common/error_reason.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "server/blobs/blob_files.h"
#include "server/blobs/blob_names.h"

namespace adamant {
namespace {

constexpr absl::Duration kStagingLife = absl::Hours(24);

absl::Status DigestMismatch(const v1::BlobRef& expected, int64_t size, const std::string& digest) {
  const std::string actual = absl::StrCat("blobs/", digest, "/", size);
  return WithReason(
      absl::InvalidArgumentError(
          absl::StrCat("the bytes do not have the declared identity: expected ", BlobName(expected),
                       ", found ", actual, "; upload the blob again from the start")),
      "DIGEST_MISMATCH", {{"expected", BlobName(expected)}, {"actual", actual}});
}

}  // namespace

// A staged file that becomes an object of the store.
class LocalBlobStore::Upload : public BlobUpload {
 public:
  Upload(LocalBlobStore& store, std::string name, v1::BlobRef expected)
      : store_(store),
        name_(std::move(name)),
        steps_(IsUploadFile(name_) ? kUploadSteps : kOutputSteps),
        expected_(std::move(expected)) {}

  ~Upload() override {
    file_.reset();
    absl::MutexLock lock(&store_.mutex_);
    store_.open_uploads_.erase(name_);
  }

  absl::Status Start(std::shared_ptr<std::atomic<int64_t>> committed) {
    absl::StatusOr<Descriptor> opened = OpenStaged();
    if (!opened.ok()) return opened.status();
    file_.emplace(*std::move(opened), expected_.size_bytes(), steps_, std::move(committed));
    absl::Status started = Guard(file_->Resume());
    const int64_t rest = expected_.size_bytes() - file_->size();
    DiskReservation reservation;
    if (started.ok() && IsUploadFile(name_) && store_.options_.ledger != nullptr && rest > 0) {
      absl::StatusOr<DiskReservation> reserved = store_.options_.ledger->Reserve(rest);
      started = reserved.status();
      if (reserved.ok()) reservation = *std::move(reserved);
    }
    if (started.ok()) started = file_->Allocate(std::move(reservation));
    if (!started.ok() && file_->size() == 0) Abandon();
    return started;
  }

  absl::Status Append(absl::Span<const absl::string_view> pieces) override {
    return Guard(file_->Append(pieces));
  }

  absl::Status Sync() override { return Guard(file_->Sync()); }

  absl::Status Finish() override {
    RETURN_IF_ERROR(Sync());
    const std::string digest = file_->FinishHex();
    if (file_->size() != expected_.size_bytes() || digest != expected_.sha256()) {
      Abandon();
      return DigestMismatch(expected_, file_->size(), digest);
    }
    return store_.Publish(name_, expected_, steps_);
  }

  void Abandon() override {
    unlinkat(store_.staging_.get(), name_.c_str(), 0);
    absl::MutexLock lock(&store_.mutex_);
    store_.open_uploads_[name_].abandoned = true;
  }

  int64_t size() const override { return file_->size(); }
  int64_t committed_size() const override { return file_->committed(); }

 private:
  absl::StatusOr<Descriptor> OpenStaged() {
    Descriptor file;
    if (IsUploadFile(name_)) file = OpenBeneath(store_.staging_, name_, O_RDWR);
    if (!file.valid()) {
      Interruptible(steps_.open, [&] {
        file = OpenBeneath(store_.staging_, name_, O_RDWR | O_CREAT | O_EXCL);
        return file.get();
      });
    }
    if (!file.valid()) return DiskStatus(errno, "cannot stage a blob");
    return file;
  }

  // A file without durable bytes is not worth keeping after an error.
  absl::Status Guard(absl::Status status) {
    if (status.ok() || absl::IsOutOfRange(status)) return status;
    if (file_->lost()) return store_.Lose(std::move(status));
    if (file_->committed() == 0) Abandon();
    return status;
  }

  LocalBlobStore& store_;
  const std::string name_;
  const WriteSteps steps_;
  const v1::BlobRef expected_;
  std::optional<StagedFile> file_;
};

absl::StatusOr<std::unique_ptr<LocalBlobStore>> LocalBlobStore::Open(const std::string& folder,
                                                                     LocalBlobOptions options) {
  auto store = std::unique_ptr<LocalBlobStore>(new LocalBlobStore(std::move(options)));
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return DiskStatus(errno, "cannot create the folder of the blob store");
  store->root_ = Descriptor(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!store->root_.valid()) return ErrnoStatus(errno, "cannot open the folder of the blob store");
  ASSIGN_OR_RETURN(store->objects_, MakeFolder(store->root_, "objects"));
  ASSIGN_OR_RETURN(store->staging_, MakeFolder(store->root_, "staging"));
  // Folders that an earlier process made and did not get to sync.
  if (SyncDescriptor("", store->objects_.get()) != 0 || SyncDescriptor("", store->root_.get()) != 0)
    return DiskStatus(errno, "cannot sync the folders of the blob store");
  RETURN_IF_ERROR(RemoveNames(store->staging_, [](const std::string& name, const struct stat&) {
    return !IsUploadFile(name);
  }));
  RETURN_IF_ERROR(store->CleanStaging(absl::Now()));
  RETURN_IF_ERROR(store->CountObjects());
  return store;
}

absl::Status LocalBlobStore::CountObjects() {
  ASSIGN_OR_RETURN(const std::vector<v1::BlobRef> blobs, List(absl::InfiniteFuture()));
  absl::MutexLock lock(&mutex_);
  for (const v1::BlobRef& blob : blobs) {
    totals_.count += 1;
    totals_.bytes += blob.size_bytes();
  }
  return absl::OkStatus();
}

absl::Status LocalBlobStore::CheckUsable() const {
  if (!lost_) return absl::OkStatus();
  return WithReason(absl::UnavailableError("the disk failed; the server must be started again"),
                    "STORE_UNAVAILABLE");
}

absl::Status LocalBlobStore::Lose(absl::Status status) {
  if (!lost_.exchange(true) && options_.on_fatal) options_.on_fatal(status);
  return CheckUsable();
}

absl::Status LocalBlobStore::CleanStaging(absl::Time now) {
  return RemoveNames(staging_, [this, now](const std::string& name, const struct stat& info) {
    if (now - absl::TimeFromTimespec(info.st_mtim) <= kStagingLife) return false;
    absl::MutexLock lock(&mutex_);
    return !open_uploads_.contains(name);
  });
}

absl::StatusOr<std::unique_ptr<LocalBlobStore::Upload>> LocalBlobStore::Stage(
    const std::string& name, const v1::BlobRef& expected) {
  RETURN_IF_ERROR(CheckUsable());
  OpenUpload open{std::make_shared<std::atomic<int64_t>>(-1), expected.size_bytes()};
  {
    absl::MutexLock lock(&mutex_);
    if (!open_uploads_.emplace(name, open).second) {
      return WithReason(
          absl::UnavailableError("another call writes this upload still; try again soon"),
          "RESOURCE_IN_USE");
    }
  }
  auto upload = std::make_unique<Upload>(*this, name, expected);
  RETURN_IF_ERROR(upload->Start(open.committed));
  return upload;
}

absl::StatusOr<std::unique_ptr<LocalBlobStore::Upload>> LocalBlobStore::StageCopy(
    const v1::BlobRef& expected) {
  return Stage(CopyFile(++copies_), expected);
}

absl::Status LocalBlobStore::WithReserve(const std::function<absl::Status()>& put) {
  absl::Status status = put();
  if (!absl::IsResourceExhausted(status) || options_.ledger == nullptr ||
      !options_.ledger->ReleaseReserve()) {
    return status;
  }
  return put();
}

absl::Status LocalBlobStore::Put(int fd, const v1::BlobRef& expected) {
  RETURN_IF_ERROR(CheckBlobRef(expected));
  RETURN_IF_ERROR(CheckUsable());
  const BlobHold hold = Hold(expected);
  if (Stat(expected).ok()) {
    const absl::Status present = Open(expected).status();
    if (!absl::IsDataLoss(present)) return present;
  }
  return WithReserve([&] { return PutOnce(fd, expected); });
}

absl::Status LocalBlobStore::PutOnce(int fd, const v1::BlobRef& expected) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Upload> copy, StageCopy(expected));
  Sha256 hash;
  absl::Status copied = HashFile(fd, expected.size_bytes(), hash, [&copy](absl::string_view bytes) {
                          return copy->BlobUpload::Append(bytes);
                        }).status();
  if (copied.ok()) {
    const absl::StatusOr<int64_t> source_size = FileSize(fd);
    copied = source_size.status();
    if (source_size.ok() && *source_size != expected.size_bytes())
      copied = DigestMismatch(expected, *source_size, hash.FinishHex());
  }
  if (copied.ok()) copied = copy->Finish();
  if (!copied.ok()) copy->Abandon();
  return copied;
}

absl::StatusOr<v1::BlobRef> LocalBlobStore::PutBytes(absl::string_view bytes) {
  RETURN_IF_ERROR(CheckUsable());
  v1::BlobRef blob;
  blob.set_sha256(Sha256Hex(bytes));
  blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
  const BlobHold hold = Hold(blob);
  if (Stat(blob).ok() && Open(blob).ok()) return blob;
  RETURN_IF_ERROR(WithReserve([&] { return PutBytesOnce(bytes, blob); }));
  return blob;
}

absl::Status LocalBlobStore::PutBytesOnce(absl::string_view bytes, const v1::BlobRef& blob) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Upload> copy, StageCopy(blob));
  absl::Status written = copy->BlobUpload::Append(bytes);
  if (written.ok()) written = copy->Finish();
  if (!written.ok()) copy->Abandon();
  return written;
}

absl::StatusOr<DiskReservation> LocalBlobStore::ReserveOutput(int64_t bytes) {
  if (options_.ledger == nullptr) return DiskReservation();
  return options_.ledger->ReserveForResults(bytes);
}

absl::StatusOr<std::unique_ptr<BlobUpload>> LocalBlobStore::Begin(const UploadKey& key) {
  RETURN_IF_ERROR(CheckUploadKey(key));
  return Stage(UploadFile(key), key.blob);
}

absl::StatusOr<int64_t> LocalBlobStore::StagedSize(const UploadKey& key) {
  RETURN_IF_ERROR(CheckUploadKey(key));
  RETURN_IF_ERROR(CheckUsable());
  const std::string name = UploadFile(key);
  {
    absl::MutexLock lock(&mutex_);
    const auto open = open_uploads_.find(name);
    const bool counts = open != open_uploads_.end() && !open->second.abandoned;
    // While the prefix of an earlier call is hashed, the file itself says how much there is.
    if (counts && *open->second.committed >= 0) return open->second.committed->load();
  }
  const Descriptor file = OpenBeneath(staging_, name, O_RDWR);
  if (!file.valid()) {
    return WithReason(absl::NotFoundError("nothing is stored of this upload; start at 0"),
                      "UPLOAD_NOT_FOUND");
  }
  // An earlier process may have ended before it synced: what is told must be durable.
  ASSIGN_OR_RETURN(const int64_t size, FileSize(file.get()));
  if (SyncDescriptor(kUploadSteps.sync, file.get()) != 0)
    return Lose(DiskStatus(errno, "cannot sync an upload"));
  return size;
}

absl::StatusOr<int64_t> LocalBlobStore::StagedBytes(absl::string_view tenant) {
  int64_t total = 0;
  const std::string prefix = UploadPrefix(tenant);
  RETURN_IF_ERROR(ForEachName(staging_, [&](const std::string& name) {
    if (!absl::StartsWith(name, prefix)) return;
    absl::MutexLock lock(&mutex_);
    const auto open = open_uploads_.find(name);
    struct stat info{};
    if (open != open_uploads_.end())
      total += open->second.declared;
    else if (fstatat(staging_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0)
      total += info.st_size;
  }));
  return total;
}

absl::Status LocalBlobStore::Publish(const std::string& staged, const v1::BlobRef& blob,
                                     const WriteSteps& steps) {
  absl::Status linked = LinkObject(staged, blob, steps);
  if (absl::IsAlreadyExists(linked)) {
    absl::StatusOr<Descriptor> present = Open(blob);  // verifies it, quarantines a damaged one
    if (present.ok()) {
      unlinkat(staging_.get(), staged.c_str(), 0);
      return absl::OkStatus();
    }
    linked = LinkObject(staged, blob, steps);
  }
  RETURN_IF_ERROR(linked);
  absl::MutexLock lock(&mutex_);
  verified_.insert(blob.sha256());
  totals_.count += 1;
  totals_.bytes += blob.size_bytes();
  return absl::OkStatus();
}

absl::Status LocalBlobStore::LinkObject(const std::string& staged, const v1::BlobRef& blob,
                                        const WriteSteps& steps) {
  const absl::StatusOr<Descriptor> made = MakeFolder(objects_, blob.sha256().substr(0, 2));
  if (absl::IsDataLoss(made.status())) return Lose(made.status());
  RETURN_IF_ERROR(made.status());
  const Descriptor& folder = *made;
  const char* name = blob.sha256().c_str();
  if (RenameNew(steps.rename, staging_.get(), staged.c_str(), folder.get(), name) != 0)
    return DiskStatus(errno, "cannot publish a blob");
  if (SyncDescriptor(steps.dirsync, folder.get()) == 0) return absl::OkStatus();
  const absl::Status status = DiskStatus(errno, "cannot sync a folder of the blob store");
  if (!absl::IsResourceExhausted(status)) return Lose(status);
  // Not durable, so not published.
  RenameNew("", folder.get(), name, staging_.get(), staged.c_str());
  return status;
}

}  // namespace adamant
