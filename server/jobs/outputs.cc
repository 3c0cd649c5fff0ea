// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/outputs.h"

#include <fcntl.h>
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
  // Twice: the published copy exists beside the scratch file.
  absl::StatusOr<DiskReservation> space = blobs_.ReserveOutput(2 * max_bytes);
  if (!space.ok()) return space.status();
  absl::StatusOr<Descriptor> file = UnnamedFile(folder_);
  if (!file.ok()) return file.status();
  OpenOutput output{*std::move(file), *std::move(space)};
  return open_.emplace(output_id, std::move(output)).first->second.file.get();
}

absl::Status WorkerOutputs::Publish(int64_t output_id, const v1::BlobRef& expected) {
  const auto found = open_.find(output_id);
  if (found == open_.end())
    return absl::InvalidArgumentError(absl::StrCat("output ", output_id, " is not open"));
  const OpenOutput output = std::move(found->second);
  open_.erase(found);
  holds_.push_back(blobs_.Hold(expected));
  return blobs_.Put(output.file.get(), expected);
}

}  // namespace adamant
