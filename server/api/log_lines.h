// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace adamant {

// Chooses the lines of a job log by level. A line of a worker is `TIME LEVEL text`; one that is
// not has the level of the line before it, at first info. Not thread-safe; one per read.
class LogLines {
 public:
  // INVALID_ARGUMENT for anything but "" (every line), debug, info, warning and error.
  static absl::StatusOr<LogLines> Make(absl::string_view min_level);

  bool takes_all() const { return min_level_ == 0; }

  struct Run {
    size_t begin;
    size_t size;
  };
  // The runs of wanted bytes in `text`, which holds whole lines; the last may lack its end.
  std::vector<Run> Choose(absl::string_view text);

 private:
  explicit LogLines(int min_level) : min_level_(min_level) {}

  int min_level_;
  int level_ = 1;  // of the last line
};

}  // namespace adamant
