// SPDX-License-Identifier: Apache-2.0
// System calls of the local blob store as statuses.
#pragma once

#include <sys/stat.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/failpoint.h"
#include "common/files.h"
#include "common/sha256.h"

namespace adamant {

// errno as a status; a full disk is RESOURCE_EXHAUSTED / STORAGE_FULL.
absl::Status DiskStatus(int error, absl::string_view what);

// Makes a system call until no signal interrupts it. An errno of the failpoint `step` comes instead
// of the call. The result and errno are those of the call.
template <typename Call>
auto Interruptible(absl::string_view step, Call call) -> decltype(call()) {
  while (true) {
    const int simulated = FailpointErrno(step);
    if (simulated == EINTR) continue;
    if (simulated > 0) {
      errno = simulated;
      return -1;
    }
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

// pwritev; may write less than it was given.
ssize_t WriteVectors(absl::string_view step, int fd, iovec* vectors, int count, int64_t offset);

int SyncDescriptor(absl::string_view step, int fd);

// Opens `name` below the folder: no symbolic link, no way out. Invalid with errno set on failure.
Descriptor OpenBeneath(const Descriptor& folder, const std::string& name, int flags);

// Opens the folder `name`, made and synced when it is new; DATA_LOSS when the sync failed.
absl::StatusOr<Descriptor> MakeFolder(const Descriptor& parent, const std::string& name);

// Every entry that does not begin with a dot.
absl::Status ForEachName(const Descriptor& folder,
                         const std::function<void(const std::string&)>& visit);

// renameat2 with RENAME_NOREPLACE.
int RenameNew(absl::string_view step, int from_folder, const char* from, int to_folder,
              const char* to);

// Unlinks the files for which `unwanted` holds.
absl::Status RemoveNames(
    const Descriptor& folder,
    const std::function<bool(const std::string& name, const struct stat& info)>& unwanted);

// Hashes up to `size` bytes from the start of `fd` and hands them to `sink` unless it is null.
// Returns how many there were.
absl::StatusOr<int64_t> HashFile(int fd, int64_t size, Sha256& hash,
                                 const std::function<absl::Status(absl::string_view)>& sink);

absl::StatusOr<int64_t> FileSize(int fd);

}  // namespace adamant
