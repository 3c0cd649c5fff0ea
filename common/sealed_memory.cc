// SPDX-License-Identifier: Apache-2.0
#include "common/sealed_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;

}  // namespace

absl::StatusOr<Descriptor> SealedMemory(absl::string_view bytes) {
  Descriptor file(memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid()) return ErrnoStatus(errno, "memfd_create");
  RETURN_IF_ERROR(WriteAll(file.get(), bytes));
  if (fcntl(file.get(), F_ADD_SEALS, kSeals | F_SEAL_SEAL) != 0)
    return ErrnoStatus(errno, "sealing a memfd");
  return file;
}

absl::StatusOr<std::shared_ptr<const FileView>> OpenSealedMemory(int fd, int64_t max_bytes) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals)
    return absl::InvalidArgumentError("the message is not a sealed memfd");
  struct stat facts{};
  if (fstat(fd, &facts) != 0) return ErrnoStatus(errno, "fstat");
  if (facts.st_size < 1 || facts.st_size > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the message has ", facts.st_size, " bytes, at most ", max_bytes));
  }
  return FileView::Map(fd);
}

}  // namespace adamant
