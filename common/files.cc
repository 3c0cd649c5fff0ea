// SPDX-License-Identifier: Apache-2.0
#include "common/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace adamant {

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = other.Release();
  }
  return *this;
}

int Descriptor::Release() { return std::exchange(fd_, -1); }

void Descriptor::Close() {
  if (fd_ >= 0) close(Release());
}

absl::Status ErrnoStatus(int error, absl::string_view what) {
  const std::string message = absl::StrCat(what, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::StatusOr<std::shared_ptr<const FileView>> FileView::Map(int fd) {
  struct stat info{};
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, "cannot read the size of an input");
  std::shared_ptr<FileView> view(new FileView());
  if (info.st_size == 0) return view;
  void* address = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED) return ErrnoStatus(errno, "cannot map an input");
  view->bytes_ = {static_cast<const char*>(address), static_cast<size_t>(info.st_size)};
  view->mapped_ = true;
  return view;
}

absl::StatusOr<std::shared_ptr<const FileView>> FileView::Open(const std::string& path) {
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("cannot open ", path));
  return Map(fd.get());
}

std::shared_ptr<const FileView> FileView::Own(std::string bytes) {
  std::shared_ptr<FileView> view(new FileView());
  view->owned_ = std::move(bytes);
  view->bytes_ = view->owned_;
  return view;
}

FileView::~FileView() {
  if (mapped_) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

absl::Status WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, "cannot write");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const FileView> view, FileView::Open(path));
  return std::string(view->bytes());
}

absl::Status SyncFolder(const std::string& path) {
  const Descriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || fsync(folder.get()) != 0)
    return ErrnoStatus(errno, "cannot sync a folder");
  return absl::OkStatus();
}

absl::Status WriteFileDurably(const std::string& path, absl::string_view bytes) {
  const std::string temporary = path + ".tmp";
  {
    const Descriptor file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file.valid()) return ErrnoStatus(errno, absl::StrCat("cannot create ", temporary));
    RETURN_IF_ERROR(WriteAll(file.get(), bytes));
    if (fsync(file.get()) != 0) return ErrnoStatus(errno, absl::StrCat("cannot sync ", temporary));
  }
  if (rename(temporary.c_str(), path.c_str()) != 0)
    return ErrnoStatus(errno, absl::StrCat("cannot rename to ", path));
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return SyncFolder(folder.empty() ? "." : folder);
}

}  // namespace adamant
