// SPDX-License-Identifier: Apache-2.0
// Descriptors, mapped files, and the durable write protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace adamant {

// Owns a file descriptor. Not thread-safe.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(Descriptor&& other) noexcept : fd_(other.Release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release();
  void Close();

 private:
  int fd_ = -1;
};

// A read-only view of bytes: a mapped descriptor, or owned bytes. Immutable, thread-safe.
class FileView {
 public:
  // Maps the whole file; the descriptor may be closed afterwards.
  static absl::StatusOr<std::shared_ptr<const FileView>> Map(int fd);
  static absl::StatusOr<std::shared_ptr<const FileView>> Open(const std::string& path);
  static std::shared_ptr<const FileView> Own(std::string bytes);

  ~FileView();
  FileView(const FileView&) = delete;
  FileView& operator=(const FileView&) = delete;

  absl::string_view bytes() const { return bytes_; }

 private:
  FileView() = default;
  std::string owned_;
  absl::string_view bytes_;
  bool mapped_ = false;
};

// Writes all bytes at the descriptor's position, through EINTR and short writes.
absl::Status WriteAll(int fd, absl::string_view bytes);

// The whole file as text. NOT_FOUND when it does not exist.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// Writes path.tmp, syncs, renames, syncs the folder: after OK the file is whole and durable.
absl::Status WriteFileDurably(const std::string& path, absl::string_view bytes);

absl::Status SyncFolder(const std::string& path);

// errno as a status: ENOENT is NOT_FOUND, EEXIST ALREADY_EXISTS, ENOSPC RESOURCE_EXHAUSTED, the
// rest INTERNAL.
absl::Status ErrnoStatus(int error, absl::string_view what);

}  // namespace adamant
