// SPDX-License-Identifier: Apache-2.0
// Brings data files into the form that readers take.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace adamant {

// A file in the folder for temporary files, removed with the object. Not thread-safe.
class TempFile {
 public:
  static absl::StatusOr<std::unique_ptr<TempFile>> Create();
  ~TempFile();
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  explicit TempFile(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

// One file to upload under `name`; `temporary` keeps a converted copy alive.
struct PackedFile {
  std::string name;
  std::string path;
  std::unique_ptr<TempFile> temporary;
};

// Decompresses the gzip file `from` into `to`. DATA_LOSS when it is damaged or ends early.
absl::Status Gunzip(const std::string& from, const std::string& to);

// Writes all regular files below `folder` as one uncompressed pax archive: names relative to
// `folder`, in byte order, without times and owners, so that equal folders give equal bytes. Hidden
// files are left out; INVALID_ARGUMENT for a symbolic link or an empty folder.
absl::Status PackFolder(const std::string& folder, const std::string& to);

// What `dataset add` uploads: files as they are, `.gz` decompressed, a folder of `image_folder` as
// `data.tar`, of another reader the files in it (of cifar10 only *.bin and batches.meta.txt).
absl::StatusOr<std::vector<PackedFile>> PackDataset(const std::string& reader,
                                                    const std::vector<std::string>& paths);

}  // namespace adamant
