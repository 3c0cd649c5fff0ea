// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace adamant {

// Rows under a header, columns padded to their widest cell; numbers are aligned to the right.
// Not thread-safe.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  // Every line starts with `indent`; no blanks at the end of a line.
  std::string Render(const std::string& indent = "") const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// `key:  value` lines with the values in one column. Empty values are left out.
std::string RenderFields(const std::vector<std::pair<std::string, std::string>>& fields);

// Characters (not bytes) of UTF-8 text, without colour sequences.
size_t DisplayWidth(const std::string& text);

}  // namespace adamant
