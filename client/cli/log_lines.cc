// SPDX-License-Identifier: Apache-2.0
#include "client/cli/log_lines.h"

namespace adamant {

void LogLines::Add(int64_t offset, absl::string_view bytes) {
  if (first_offset_ < 0) first_offset_ = offset;
  if (open_.empty()) open_offset_ = offset;
  open_.append(bytes.data(), bytes.size());
  size_t begin = 0;
  for (size_t end = open_.find('\n'); end != std::string::npos; end = open_.find('\n', begin)) {
    Line(absl::string_view(open_).substr(begin, end + 1 - begin));
    open_offset_ += static_cast<int64_t>(end + 1 - begin);
    begin = end + 1;
  }
  open_.erase(0, begin);
}

void LogLines::Flush() {
  if (!open_.empty()) Line(open_);
  open_.clear();
}

void LogLines::Line(absl::string_view line) {
  absl::Time time;
  std::string error;
  const absl::string_view first = line.substr(0, line.find(' '));
  if (since_ != absl::InfinitePast() && absl::ParseTime(absl::RFC3339_full, first, &time, &error)) {
    shown_ = time >= since_;
  }
  if (shown_) {
    sink_(open_offset_, line);
  } else {
    ++skipped_;
  }
}

}  // namespace adamant
