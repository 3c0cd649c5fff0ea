// SPDX-License-Identifier: Apache-2.0
// The log files of jobs. An attempt keeps the first 16 MiB of its output in <folder>/<uid>/<n>.log
// and the last 48 MiB in <n>.tail, a ring. An offset counts every byte of the output, the dropped
// ones too, so that it means the same before and after a part was dropped. Attempts follow each
// other.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/files.h"

namespace adamant {

inline constexpr int64_t kLogHeadBytes = int64_t{16} << 20;
inline constexpr int64_t kLogTailBytes = int64_t{48} << 20;
inline constexpr int64_t kLogLineBytes = 16 << 10;

// Which offsets of the output beyond the first kLogHeadBytes are kept.
struct LogTail {
  int64_t begin = kLogHeadBytes;
  int64_t end = kLogHeadBytes;
};

// Appends the output of one attempt. Lines over kLogLineBytes are cut and say so. Not thread-safe.
class JobLogWriter {
 public:
  static absl::StatusOr<std::unique_ptr<JobLogWriter>> Open(const std::string& folder,
                                                            absl::string_view uid, int attempt);
  ~JobLogWriter() { Close(); }

  // Returns what was appended, which begins at the size before.
  std::string Append(absl::string_view bytes);
  void Close();
  // Of the output, with what was dropped since.
  int64_t size() const { return size_; }

 private:
  JobLogWriter(Descriptor file, std::string tail_path, int64_t size)
      : file_(std::move(file)), tail_path_(std::move(tail_path)), size_(size) {}

  std::string CutLines(absl::string_view bytes);
  void Write(absl::string_view bytes);
  absl::Status WriteTail(absl::string_view bytes);

  Descriptor file_;
  const std::string tail_path_;
  Descriptor tail_file_;  // opened when the head is full
  LogTail tail_;
  int64_t size_;
  int64_t line_bytes_ = 0;  // of the line that is being written
  int64_t cut_bytes_ = 0;   // of that line
};

// A piece of a log. `offset` is larger than asked for when the bytes there were dropped; the bytes
// at the place of the first dropped one are a line that says how many are missing.
struct LogPiece {
  int64_t offset = 0;
  std::string bytes;
};

// Up to `limit` bytes from `offset` of the log of `attempt`, or of all attempts one after the other
// when it is 0. Empty past the end and for a job that never started. Blocks on the disk.
absl::StatusOr<LogPiece> ReadJobLog(const std::string& folder, absl::string_view uid, int attempt,
                                    int64_t offset, int64_t limit);

// The size of the output of `attempt`, or of all together when it is 0.
int64_t JobLogBytes(const std::string& folder, absl::string_view uid, int attempt = 0);

}  // namespace adamant
