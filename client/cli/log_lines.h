// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace adamant {

// Cuts the bytes of a log into lines and leaves out those that are older than `since`. A line
// without a time is as old as the one before it. Not thread-safe.
class LogLines {
 public:
  using Sink = std::function<void(int64_t offset, absl::string_view line)>;

  LogLines(absl::Time since, Sink sink) : since_(since), sink_(std::move(sink)) {}

  void Add(int64_t offset, absl::string_view bytes);
  // The last line, when no line end came after it.
  void Flush();

  int64_t first_offset() const { return first_offset_ < 0 ? 0 : first_offset_; }
  int64_t skipped() const { return skipped_; }

 private:
  void Line(absl::string_view line);

  const absl::Time since_;
  const Sink sink_;
  std::string open_;  // the begin of a line
  int64_t open_offset_ = 0;
  int64_t first_offset_ = -1;
  int64_t skipped_ = 0;
  bool shown_ = true;
};

}  // namespace adamant
