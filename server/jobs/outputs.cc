// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/outputs.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"

namespace adamant {
namespace {

constexpr int64_t kMaxOutputBytes = int64_t{16} << 30;

absl::StatusOr<Descriptor> UnnamedFile(const std::string& folder) {
  Descriptor file(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600));
  if (file.valid()) return file;
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
    return ErrnoStatus(errno, "a scratch file");
  // File systems without O_TMPFILE.
  std::string path = absl::StrCat(folder, "/output-XXXXXX");
  file = Descriptor(mkostemp(path.data(), O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, "a scratch file");
  unlink(path.c_str());
  return file;
}

}  // namespace

absl::StatusOr<int> WorkerOutputs::Open(int64_t output_id, int64_t max_bytes) {
  if (max_bytes < 0 || max_bytes > kMaxOutputBytes)
    return absl::InvalidArgumentError(absl::StrCat("an output of ", max_bytes, " bytes"));
  if (open_.contains(output_id))
    return absl::InvalidArgumentError(absl::StrCat("output ", output_id, " is open"));
  if (open_.size() >= kMaxOpen) return absl::ResourceExhaustedError("too many open outputs");
  struct statvfs disk {};
  if (statvfs(folder_.c_str(), &disk) != 0) return ErrnoStatus(errno, "the scratch folder");
  // Twice: the published copy exists beside the scratch file.
  const uint64_t free_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (free_bytes / 2 < static_cast<uint64_t>(max_bytes))
    return absl::ResourceExhaustedError(
        absl::StrCat("the disk has no room for an output of ", max_bytes, " bytes"));
  absl::StatusOr<Descriptor> file = UnnamedFile(folder_);
  if (!file.ok()) return file.status();
  return open_.emplace(output_id, *std::move(file)).first->second.get();
}

absl::Status WorkerOutputs::Publish(int64_t output_id, const v1::BlobRef& expected) {
  const auto found = open_.find(output_id);
  if (found == open_.end())
    return absl::InvalidArgumentError(absl::StrCat("output ", output_id, " is not open"));
  const Descriptor file = std::move(found->second);
  open_.erase(found);
  return blobs_.Put(file.get(), expected);
}

}  // namespace adamant
