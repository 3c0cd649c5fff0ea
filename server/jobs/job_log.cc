// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/job_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

// What is dropped is dropped in steps, so that the line in its place is shorter than the gap.
constexpr int64_t kDropStep = 4096;
constexpr int64_t kRingStart = sizeof(LogTail);  // of the ring in the tail file, behind a LogTail
constexpr int kReadTries = 8;

std::string LogPath(const std::string& folder, absl::string_view uid, int attempt,
                    absl::string_view kind) {
  return absl::StrCat(folder, "/", uid, "/", attempt, ".", kind);
}

// -1 when there is no such file.
int64_t FileSize(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 ? info.st_size : -1;
}

absl::Status WriteAt(int fd, absl::string_view bytes, int64_t offset) {
  while (!bytes.empty()) {
    const ssize_t count = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, "the job log");
    bytes.remove_prefix(static_cast<size_t>(count));
    offset += count;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAt(int fd, int64_t offset, int64_t limit) {
  std::string bytes(static_cast<size_t>(limit), '\0');
  ssize_t count;
  do {
    count = pread(fd, bytes.data(), bytes.size(), offset);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return ErrnoStatus(errno, "the job log");
  bytes.resize(static_cast<size_t>(count));
  return bytes;
}

LogTail ReadTailHead(int fd) {
  LogTail tail;
  if (pread(fd, &tail, sizeof(tail), 0) != sizeof(tail)) return {};
  return tail;
}

Descriptor OpenToRead(const std::string& path) {
  return Descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

LogTail TailOf(const std::string& folder, absl::string_view uid, int attempt) {
  const Descriptor file = OpenToRead(LogPath(folder, uid, attempt, "tail"));
  return file.valid() ? ReadTailHead(file.get()) : LogTail();
}

// -1 when there is no such attempt.
int64_t AttemptBytes(const std::string& folder, absl::string_view uid, int attempt) {
  const int64_t head = FileSize(LogPath(folder, uid, attempt, "log"));
  return head < kLogHeadBytes ? head : TailOf(folder, uid, attempt).end;
}

int64_t InRing(int64_t offset) { return kRingStart + (offset - kLogHeadBytes) % kLogTailBytes; }

// The writer may overwrite what is read: it first says what it gives up, so a look at the head of
// the file afterwards tells whether the bytes were still the right ones.
absl::StatusOr<LogPiece> ReadTail(const std::string& path, int64_t offset, int64_t limit) {
  const Descriptor file = OpenToRead(path);
  if (!file.valid()) return LogPiece{offset, ""};
  LogTail tail = ReadTailHead(file.get());
  for (int i = 0; i < kReadTries; ++i) {
    if (offset == kLogHeadBytes && tail.begin > kLogHeadBytes) {
      return LogPiece{offset, absl::StrCat("\n[", tail.begin - kLogHeadBytes,
                                           " bytes of output were dropped]\n")};
    }
    const int64_t from = std::max(offset, tail.begin);
    if (from >= tail.end) return LogPiece{from, ""};
    const int64_t until_wrap = kLogTailBytes - (from - kLogHeadBytes) % kLogTailBytes;
    ASSIGN_OR_RETURN(std::string bytes, ReadAt(file.get(), InRing(from),
                                               std::min({limit, tail.end - from, until_wrap})));
    tail = ReadTailHead(file.get());
    if (tail.begin <= from) return LogPiece{from, std::move(bytes)};
  }
  return absl::UnavailableError("the log is written faster than it can be read; try again");
}

absl::StatusOr<LogPiece> ReadAttempt(const std::string& folder, absl::string_view uid, int attempt,
                                     int64_t offset, int64_t limit) {
  if (offset >= kLogHeadBytes)
    return ReadTail(LogPath(folder, uid, attempt, "tail"), offset, limit);
  const Descriptor file = OpenToRead(LogPath(folder, uid, attempt, "log"));
  if (!file.valid()) return ErrnoStatus(errno, "the job log");
  ASSIGN_OR_RETURN(std::string bytes,
                   ReadAt(file.get(), offset, std::min(limit, kLogHeadBytes - offset)));
  return LogPiece{offset, std::move(bytes)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobLogWriter>> JobLogWriter::Open(const std::string& folder,
                                                                 absl::string_view uid,
                                                                 int attempt) {
  const std::string job_folder = absl::StrCat(folder, "/", uid);
  if (mkdir(job_folder.c_str(), 0700) != 0 && errno != EEXIST)
    return ErrnoStatus(errno, "the folder of the job log");
  Descriptor file(open(LogPath(folder, uid, attempt, "log").c_str(),
                       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return ErrnoStatus(errno, "the job log");
  const int64_t size = std::max<int64_t>(AttemptBytes(folder, uid, attempt), 0);
  auto writer = std::unique_ptr<JobLogWriter>(
      new JobLogWriter(std::move(file), LogPath(folder, uid, attempt, "tail"), size));
  writer->tail_ = TailOf(folder, uid, attempt);
  return writer;
}

std::string JobLogWriter::CutLines(absl::string_view bytes) {
  std::string kept;
  kept.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t newline = bytes.find('\n');
    const absl::string_view text = bytes.substr(0, newline);
    const size_t room = static_cast<size_t>(kLogLineBytes - line_bytes_);
    kept.append(text.data(), std::min(room, text.size()));
    line_bytes_ += static_cast<int64_t>(std::min(room, text.size()));
    cut_bytes_ += static_cast<int64_t>(text.size() - std::min(room, text.size()));
    if (newline == absl::string_view::npos) break;
    if (cut_bytes_ > 0) absl::StrAppend(&kept, " [", cut_bytes_, " bytes cut]");
    kept += '\n';
    line_bytes_ = cut_bytes_ = 0;
    bytes.remove_prefix(newline + 1);
  }
  return kept;
}

std::string JobLogWriter::Append(absl::string_view bytes) {
  std::string kept = CutLines(bytes);
  Write(kept);
  return kept;
}

void JobLogWriter::Write(absl::string_view bytes) {
  const absl::string_view head =
      bytes.substr(0, static_cast<size_t>(std::max<int64_t>(kLogHeadBytes - size_, 0)));
  if (!head.empty()) {
    if (!WriteAll(file_.get(), head).ok()) return;
    size_ += static_cast<int64_t>(head.size());
  }
  const absl::string_view rest = bytes.substr(head.size());
  if (!rest.empty() && WriteTail(rest).ok()) size_ += static_cast<int64_t>(rest.size());
}

absl::Status JobLogWriter::WriteTail(absl::string_view bytes) {
  if (!tail_file_.valid()) {
    tail_file_ =
        Descriptor(open(tail_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!tail_file_.valid()) return ErrnoStatus(errno, "the job log");
  }
  const auto write_head = [this] {
    return WriteAt(tail_file_.get(), {reinterpret_cast<const char*>(&tail_), sizeof(tail_)}, 0);
  };
  while (!bytes.empty()) {
    const int64_t until_wrap = kLogTailBytes - (tail_.end - kLogHeadBytes) % kLogTailBytes;
    const absl::string_view part = bytes.substr(0, static_cast<size_t>(until_wrap));
    const int64_t end = tail_.end + static_cast<int64_t>(part.size());
    if (const int64_t excess = end - tail_.begin - kLogTailBytes; excess > 0) {
      tail_.begin += (excess + kDropStep - 1) / kDropStep * kDropStep;
      RETURN_IF_ERROR(write_head());
    }
    RETURN_IF_ERROR(WriteAt(tail_file_.get(), part, InRing(tail_.end)));
    tail_.end = end;
    RETURN_IF_ERROR(write_head());
    bytes.remove_prefix(part.size());
  }
  return absl::OkStatus();
}

void JobLogWriter::Close() {
  if (!file_.valid()) return;
  if (cut_bytes_ > 0) Append("\n");
  file_.Close();
  tail_file_.Close();
}

absl::StatusOr<LogPiece> ReadJobLog(const std::string& folder, absl::string_view uid, int attempt,
                                    int64_t offset, int64_t limit) {
  if (attempt > 0) {
    if (offset >= AttemptBytes(folder, uid, attempt)) return LogPiece{offset, ""};
    return ReadAttempt(folder, uid, attempt, offset, limit);
  }
  int64_t before = 0;  // bytes of earlier attempts
  for (int number = 1;; ++number) {
    const int64_t size = AttemptBytes(folder, uid, number);
    if (size < 0) return LogPiece{offset, ""};
    if (offset < before + size) {
      ASSIGN_OR_RETURN(LogPiece piece, ReadAttempt(folder, uid, number, offset - before, limit));
      piece.offset += before;
      return piece;
    }
    before += size;
  }
}

int64_t JobLogBytes(const std::string& folder, absl::string_view uid, int attempt) {
  if (attempt > 0) return std::max<int64_t>(AttemptBytes(folder, uid, attempt), 0);
  int64_t total = 0;
  for (int number = 1;; ++number) {
    const int64_t size = AttemptBytes(folder, uid, number);
    if (size < 0) return total;
    total += size;
  }
}

}  // namespace adamant
