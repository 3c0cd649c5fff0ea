// SPDX-License-Identifier: Apache-2.0
// System calls of the local blob store as statuses.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/files.h"
#include "common/sha256.h"

namespace adamant {

// errno as a status; a full disk is RESOURCE_EXHAUSTED / STORAGE_FULL.
absl::Status DiskStatus(int error, absl::string_view what);

// Opens `name` below the folder: no symbolic link, no way out. Invalid with errno set on failure.
Descriptor OpenBeneath(const Descriptor& folder, const std::string& name, int flags);

// Opens the folder `name`, made and synced when it is new.
absl::StatusOr<Descriptor> MakeFolder(const Descriptor& parent, const std::string& name);

// Every entry that does not begin with a dot.
absl::Status ForEachName(const Descriptor& folder,
                         const std::function<void(const std::string&)>& visit);

// Hashes up to `size` bytes from the start of `fd` and hands them to `sink` unless it is null.
// Returns how many there were.
absl::StatusOr<int64_t> HashFile(int fd, int64_t size, Sha256& hash,
                                 const std::function<absl::Status(absl::string_view)>& sink);

absl::StatusOr<int64_t> FileSize(int fd);

}  // namespace adamant
