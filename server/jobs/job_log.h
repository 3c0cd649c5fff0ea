// SPDX-License-Identifier: Apache-2.0
// The log files of jobs: <folder>/<uid>/<attempt>.log.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/files.h"

namespace adamant {

// Appends the output of one attempt. Keeps the first 64 MiB; Close adds one line with the number of
// bytes dropped. Not thread-safe.
class JobLogWriter {
 public:
  static constexpr int64_t kMaxBytes = int64_t{64} << 20;

  static absl::StatusOr<std::unique_ptr<JobLogWriter>> Open(const std::string& folder,
                                                            absl::string_view uid, int attempt);
  ~JobLogWriter() { Close(); }

  void Append(absl::string_view bytes);
  void Close();
  int64_t size() const { return size_; }

 private:
  explicit JobLogWriter(Descriptor file, int64_t size) : file_(std::move(file)), size_(size) {}

  Descriptor file_;
  int64_t size_;
  int64_t dropped_ = 0;
};

// Up to `limit` bytes from `offset` of the log of `attempt`, or of all attempts one after the other
// when it is 0. Empty past the end and for a job that never started. Blocks on the disk.
absl::StatusOr<std::string> ReadJobLog(const std::string& folder, absl::string_view uid,
                                       int attempt, int64_t offset, int64_t limit);

// Bytes of all attempts together.
int64_t JobLogBytes(const std::string& folder, absl::string_view uid);

}  // namespace adamant
