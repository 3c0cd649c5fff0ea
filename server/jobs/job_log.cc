// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/job_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace adamant {
namespace {

std::string LogPath(const std::string& folder, absl::string_view uid, int attempt) {
  return absl::StrCat(folder, "/", uid, "/", attempt, ".log");
}

// -1 when there is no such log.
int64_t LogSize(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? info.st_size : -1;
}

absl::StatusOr<std::string> ReadPart(const std::string& path, int64_t offset, int64_t limit) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return ErrnoStatus(errno, "the job log");
  std::string bytes(static_cast<size_t>(limit), '\0');
  const ssize_t count = pread(file.get(), bytes.data(), bytes.size(), offset);
  if (count < 0) return ErrnoStatus(errno, "the job log");
  bytes.resize(static_cast<size_t>(count));
  return bytes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobLogWriter>> JobLogWriter::Open(const std::string& folder,
                                                                 absl::string_view uid,
                                                                 int attempt) {
  const std::string job_folder = absl::StrCat(folder, "/", uid);
  if (mkdir(job_folder.c_str(), 0700) != 0 && errno != EEXIST)
    return ErrnoStatus(errno, "the folder of the job log");
  Descriptor file(open(LogPath(folder, uid, attempt).c_str(),
                       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return ErrnoStatus(errno, "the job log");
  const int64_t size = std::max<int64_t>(LogSize(LogPath(folder, uid, attempt)), 0);
  return std::unique_ptr<JobLogWriter>(new JobLogWriter(std::move(file), size));
}

void JobLogWriter::Append(absl::string_view bytes) {
  const int64_t room = std::max<int64_t>(kMaxBytes - size_, 0);
  const absl::string_view kept = bytes.substr(0, static_cast<size_t>(room));
  dropped_ += static_cast<int64_t>(bytes.size() - kept.size());
  if (!kept.empty() && WriteAll(file_.get(), kept).ok()) size_ += static_cast<int64_t>(kept.size());
}

void JobLogWriter::Close() {
  if (!file_.valid()) return;
  if (dropped_ > 0) {
    const std::string marker = absl::StrCat("\n[", dropped_, " bytes of output were dropped]\n");
    if (WriteAll(file_.get(), marker).ok()) size_ += static_cast<int64_t>(marker.size());
  }
  file_.Close();
}

absl::StatusOr<std::string> ReadJobLog(const std::string& folder, absl::string_view uid,
                                       int attempt, int64_t offset, int64_t limit) {
  if (attempt > 0) {
    const std::string path = LogPath(folder, uid, attempt);
    return offset < LogSize(path) ? ReadPart(path, offset, limit) : std::string();
  }
  for (int number = 1;; ++number) {
    const std::string path = LogPath(folder, uid, number);
    const int64_t size = LogSize(path);
    if (size < 0) return std::string();
    if (offset < size) return ReadPart(path, offset, std::min(limit, size - offset));
    offset -= size;
  }
}

int64_t JobLogBytes(const std::string& folder, absl::string_view uid) {
  int64_t total = 0;
  for (int number = 1;; ++number) {
    const int64_t size = LogSize(LogPath(folder, uid, number));
    if (size < 0) return total;
    total += size;
  }
}

}  // namespace adamant
