// SPDX-License-Identifier: Apache-2.0
#include "server/blobs/blob_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr int64_t kCopyBytes = 1 << 20;

}  // namespace

absl::Status DiskStatus(int error, absl::string_view what) {
  if (error == ENOSPC || error == EDQUOT) {
    return WithReason(absl::ResourceExhaustedError(
                          absl::StrCat(what, ": the disk is full; free space, then try again")),
                      "STORAGE_FULL");
  }
  return ErrnoStatus(error, what);
}

ssize_t WriteVectors(absl::string_view step, int fd, iovec* vectors, int count, int64_t offset) {
  while (true) {
    const int simulated = FailpointErrno(step);
    if (simulated == EINTR) continue;
    if (simulated > 0) {
      errno = simulated;
      return -1;
    }
    if (simulated == kShortWrite) {
      vectors[0].iov_len = (vectors[0].iov_len + 1) / 2;
      count = 1;
    }
    const ssize_t written = pwritev(fd, vectors, count, offset);
    if (written >= 0 || errno != EINTR) return written;
  }
}

int SyncDescriptor(absl::string_view step, int fd) {
  return Interruptible(step, [fd] { return fsync(fd); });
}

Descriptor OpenBeneath(const Descriptor& folder, const std::string& name, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = (flags & O_CREAT) != 0 ? 0600 : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  Descriptor file(
      static_cast<int>(syscall(SYS_openat2, folder.get(), name.c_str(), &how, sizeof(how))));
  if (file.valid() || (errno != ENOSYS && errno != EPERM)) return file;
  return Descriptor(openat(folder.get(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, 0600));
}

absl::StatusOr<Descriptor> MakeFolder(const Descriptor& parent, const std::string& name) {
  if (mkdirat(parent.get(), name.c_str(), 0700) == 0) {
    if (SyncDescriptor("", parent.get()) != 0) {
      const absl::Status status = DiskStatus(errno, "cannot sync a folder of the blob store");
      return absl::IsResourceExhausted(status) ? status : absl::DataLossError(status.message());
    }
  } else if (errno != EEXIST) {
    return DiskStatus(errno, "cannot create a folder of the blob store");
  }
  Descriptor folder = OpenBeneath(parent, name, O_RDONLY | O_DIRECTORY);
  if (!folder.valid()) return DiskStatus(errno, "cannot open a folder of the blob store");
  return folder;
}

absl::Status ForEachName(const Descriptor& folder,
                         const std::function<void(const std::string&)>& visit) {
  DIR* entries = fdopendir(openat(folder.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (entries == nullptr) return ErrnoStatus(errno, "cannot list a folder of the blob store");
  while (const dirent* entry = readdir(entries)) {
    if (entry->d_name[0] != '.') visit(entry->d_name);
  }
  closedir(entries);
  return absl::OkStatus();
}

int RenameNew(absl::string_view step, int from_folder, const char* from, int to_folder,
              const char* to) {
  return Interruptible(step, [=] {
    int failed = renameat2(from_folder, from, to_folder, to, RENAME_NOREPLACE);
    if (failed != 0 && (errno == EINVAL || errno == ENOSYS)) {  // file systems without the flag
      failed = linkat(from_folder, from, to_folder, to, 0);
      if (failed == 0) unlinkat(from_folder, from, 0);
    }
    return failed;
  });
}

absl::Status RemoveNames(
    const Descriptor& folder,
    const std::function<bool(const std::string& name, const struct stat& info)>& unwanted) {
  return ForEachName(folder, [&](const std::string& name) {
    struct stat info{};
    if (fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (unwanted(name, info)) unlinkat(folder.get(), name.c_str(), 0);
  });
}

absl::StatusOr<int64_t> HashFile(int fd, int64_t size, Sha256& hash,
                                 const std::function<absl::Status(absl::string_view)>& sink) {
  std::string buffer(static_cast<size_t>(std::min(size, kCopyBytes)), '\0');
  int64_t done = 0;
  while (done < size) {
    const auto want = static_cast<size_t>(std::min(size - done, kCopyBytes));
    const ssize_t got = pread(fd, buffer.data(), want, done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "cannot read a file");
    if (got == 0) break;
    const absl::string_view bytes(buffer.data(), static_cast<size_t>(got));
    hash.Update(bytes);
    if (sink) RETURN_IF_ERROR(sink(bytes));
    done += got;
  }
  return done;
}

absl::StatusOr<int64_t> FileSize(int fd) {
  struct stat info{};
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, "cannot read the size of a file");
  return static_cast<int64_t>(info.st_size);
}

}  // namespace adamant
