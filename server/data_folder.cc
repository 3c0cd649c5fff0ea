// SPDX-License-Identifier: Apache-2.0
#include "server/data_folder.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/error_reason.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

constexpr size_t kKeyBytes = 32;
constexpr int64_t kCifsMagic = 0xFF534D42;
constexpr int64_t kSmb2Magic = 0xFE534D42;

absl::Status RefuseNetworkFileSystem(const std::string& path) {
  struct statfs info{};
  if (statfs(path.c_str(), &info) != 0) return ErrnoStatus(errno, "cannot inspect the data folder");
  const auto type = static_cast<int64_t>(info.f_type) & 0xFFFFFFFF;
  if (type != NFS_SUPER_MAGIC && type != kCifsMagic && type != kSmb2Magic) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      path,
      " is on a network file system, where locks and durability do not hold; choose a local "
      "folder with --data-dir"));
}

}  // namespace

absl::StatusOr<DataFolder> DataFolder::Open(const std::string& path) {
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(path, error).lexically_normal().string();
  std::filesystem::create_directories(absolute, error);
  if (error) return ErrnoStatus(error.value(), absl::StrCat("cannot create ", absolute));
  chmod(absolute.c_str(), 0700);
  RETURN_IF_ERROR(RefuseNetworkFileSystem(absolute));
  const std::string lock_path = absl::StrCat(absolute, "/LOCK");
  Descriptor lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock.valid()) return ErrnoStatus(errno, absl::StrCat("cannot open ", lock_path));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    const std::string holder = absl::StrReplaceAll(
        absl::StripSuffix(ReadFile(lock_path).value_or(""), "\n"), {{"\n", ", "}});
    return WithReason(absl::FailedPreconditionError(absl::StrCat(
                          absolute, " is in use by another server (", holder,
                          "); stop it, or give this one a folder of its own with --data-dir")),
                      "DATA_FOLDER_IN_USE");
  }
  return DataFolder(absolute, std::move(lock));
}

absl::Status DataFolder::WriteAddresses(const std::vector<std::string>& listen,
                                        const std::string& metrics) {
  std::string text = absl::StrCat("pid=", getpid(), "\n");
  for (const std::string& address : listen) absl::StrAppend(&text, "listen=", address, "\n");
  absl::StrAppend(&text, "metrics=", metrics, "\n");
  if (ftruncate(lock_.get(), 0) != 0 || lseek(lock_.get(), 0, SEEK_SET) != 0)
    return ErrnoStatus(errno, "cannot write LOCK");
  return WriteAll(lock_.get(), text);
}

absl::StatusOr<std::string> DataFolder::PageTokenKey() const {
  const std::string path = Path("page-token.key");
  absl::StatusOr<std::string> stored = ReadFile(path);
  if (stored.ok() && stored->size() == kKeyBytes) return stored;
  std::string key(kKeyBytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(key.data()), static_cast<int>(key.size())) != 1)
    return absl::InternalError("the random number generator failed");
  RETURN_IF_ERROR(WriteFileDurably(path, key));
  return key;
}

}  // namespace adamant
