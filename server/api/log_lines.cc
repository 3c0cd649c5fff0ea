// SPDX-License-Identifier: Apache-2.0
#include "server/api/log_lines.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/nearest.h"
#include "server/api/status.h"

namespace adamant {
namespace {

constexpr absl::string_view kLevels[] = {"debug", "info", "warning", "error"};
constexpr size_t kTimeBytes = 24;  // 2030-01-31T12:00:00.000Z

// -1 when there is no level of this name.
int LevelOf(absl::string_view name) {
  for (size_t i = 0; i < std::size(kLevels); ++i) {
    if (kLevels[i] == name) return static_cast<int>(i);
  }
  return -1;
}

// -1 when the line states none.
int LevelOfLine(absl::string_view line) {
  const bool has_time = line.size() > kTimeBytes + 1 && absl::ascii_isdigit(line[0]) &&
                        line[10] == 'T' && line[kTimeBytes - 1] == 'Z' && line[kTimeBytes] == ' ';
  if (!has_time) return -1;
  line.remove_prefix(kTimeBytes + 1);
  return LevelOf(line.substr(0, line.find(' ')));
}

}  // namespace

absl::StatusOr<LogLines> LogLines::Make(absl::string_view min_level) {
  if (min_level.empty()) return LogLines(0);
  const int level = LevelOf(min_level);
  if (level >= 0) return LogLines(level);
  return InvalidField(
      "min_level", "INVALID_SPEC",
      UnknownNameMessage("level", min_level, {std::begin(kLevels), std::end(kLevels)}));
}

std::vector<LogLines::Run> LogLines::Choose(absl::string_view text) {
  std::vector<Run> runs;
  for (size_t begin = 0; begin < text.size();) {
    const size_t newline = text.find('\n', begin);
    const size_t end = newline == absl::string_view::npos ? text.size() : newline + 1;
    const absl::string_view line = text.substr(begin, end - begin);
    if (const int level = LevelOfLine(line); level >= 0) level_ = level;
    if (level_ >= min_level_) {
      if (!runs.empty() && runs.back().begin + runs.back().size == begin) {
        runs.back().size += line.size();
      } else {
        runs.push_back({begin, line.size()});
      }
    }
    begin = end;
  }
  return runs;
}

}  // namespace adamant
