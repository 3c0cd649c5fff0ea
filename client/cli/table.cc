// SPDX-License-Identifier: Apache-2.0
#include "client/cli/table.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace adamant {
namespace {

// A cell that looks like a quantity: 12, 93.20 %, 1.5 s; no date, no name.
bool IsQuantity(const std::string& cell) {
  const size_t first = cell.find_first_not_of("+-");
  if (first == std::string::npos || !absl::ascii_isdigit(cell[first])) return false;
  if (absl::StrContains(cell.substr(first), '-') && absl::StrContains(cell, ':')) return false;
  return std::count_if(cell.begin(), cell.end(), absl::ascii_isalpha) <= 3;
}

void AppendCell(std::string& line, const std::string& cell, size_t width, bool right) {
  const std::string padding(width - std::min(width, DisplayWidth(cell)), ' ');
  absl::StrAppend(&line, right ? padding : "", cell, right ? "" : padding, "  ");
}

}  // namespace

size_t DisplayWidth(const std::string& text) {
  size_t width = 0;
  bool escape = false;  // inside a colour sequence
  for (const char c : text) {
    escape = escape || c == '\033';
    if (!escape && (c & 0xc0) != 0x80) ++width;
    if (escape && c == 'm') escape = false;
  }
  return width;
}

std::string Table::Render(const std::string& indent) const {
  std::vector<size_t> widths(header_.size());
  std::vector<bool> text_column(header_.size());
  std::vector<bool> right(header_.size());
  for (size_t i = 0; i < header_.size(); ++i) {
    widths[i] = DisplayWidth(header_[i]);
    for (const auto& row : rows_) {
      widths[i] = std::max(widths[i], DisplayWidth(row[i]));
      right[i] = right[i] || IsQuantity(row[i]);
      text_column[i] = text_column[i] || (row[i] != "-" && !IsQuantity(row[i]));
    }
  }
  std::string text;
  const auto append = [&](const std::vector<std::string>& row) {
    std::string line = indent;
    for (size_t i = 0; i < header_.size(); ++i) {
      AppendCell(line, row[i], widths[i], right[i] && !text_column[i]);
    }
    absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(line), "\n");
  };
  append(header_);
  for (const auto& row : rows_) append(row);
  return text;
}

std::string RenderFields(const std::vector<std::pair<std::string, std::string>>& fields) {
  size_t width = 0;
  for (const auto& [key, value] : fields) {
    if (!value.empty()) width = std::max(width, DisplayWidth(key));
  }
  std::string text;
  for (const auto& [key, value] : fields) {
    if (value.empty()) continue;
    absl::StrAppend(&text, key, ":", std::string(width - DisplayWidth(key) + 2, ' '), value, "\n");
  }
  return text;
}

}  // namespace adamant
