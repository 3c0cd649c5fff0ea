// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/files.h"

namespace adamant {

// The data folder of one server: created when absent, locked while the object lives. Not
// thread-safe.
class DataFolder {
 public:
  // FAILED_PRECONDITION / DATA_FOLDER_IN_USE when another server has it, with that server's
  // addresses in the message; FAILED_PRECONDITION on a network file system.
  static absl::StatusOr<DataFolder> Open(const std::string& path);

  // Writes `pid=`, `listen=` (one per address) and `metrics=` lines into LOCK.
  absl::Status WriteAddresses(const std::vector<std::string>& listen, const std::string& metrics);

  // The 32 bytes of the file `page-token.key`, made at the first start.
  absl::StatusOr<std::string> PageTokenKey() const;

  // An absolute path below the folder.
  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  DataFolder(std::string path, Descriptor lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  Descriptor lock_;
};

}  // namespace adamant
