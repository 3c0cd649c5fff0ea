// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/model_magic.h"
#include "common/status_macros.h"
#include "core/models/model_file.h"

namespace adamant {
namespace {

absl::Status Refuse(absl::string_view why) { return RefusedModelFormat(why); }

// The little-endian number of `bytes` bytes at `at`, which must lie inside.
uint64_t Number(absl::string_view s, size_t at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value |= uint64_t{static_cast<unsigned char>(s[at + i])} << (8 * i);
  }
  return value;
}

// The names in the central directory of a zip archive; empty when there is none that can be read.
std::vector<std::string> ZipNames(absl::string_view zip) {
  constexpr size_t kEndBytes = 22;
  constexpr size_t kEntryBytes = 46;
  const size_t end = zip.rfind("PK\5\6");
  if (end == absl::string_view::npos || zip.size() - end < kEndBytes) return {};
  std::vector<std::string> names;
  for (size_t at = Number(zip, end + 16, 4); at < end && end - at >= kEntryBytes;) {
    if (zip.substr(at, 4) != "PK\1\2") break;
    const size_t name = Number(zip, at + 28, 2);
    if (end - at - kEntryBytes < name) break;
    names.emplace_back(zip.substr(at + kEntryBytes, name));
    at += kEntryBytes + name + Number(zip, at + 30, 2) + Number(zip, at + 32, 2);
  }
  return names;
}

absl::StatusOr<v1::ModelFormat> RecogniseZip(absl::string_view bytes) {
  const std::vector<std::string> names = ZipNames(bytes);
  if (names.empty()) return Refuse("not a readable model file (truncated archive)");
  bool code = false, constants = false, data = false;
  for (const std::string& name : names) {
    code |= absl::StrContains(name, "/code/");
    constants |= absl::EndsWith(name, "/constants.pkl");
    data |= absl::EndsWith(name, "/data.pkl");
  }
  if (code && constants && data) return v1::TORCHSCRIPT;
  if (data) return Refuse("pickle / state dict, not TorchScript");
  return Refuse("zip archive without TorchScript content");
}

}  // namespace

absl::StatusOr<v1::ModelFormat> RecogniseModelFormat(absl::string_view bytes) {
  ASSIGN_OR_RETURN(const v1::ModelFormat format, ModelFormatByMagic(bytes));
  return format == v1::TORCHSCRIPT ? RecogniseZip(bytes) : format;
}

}  // namespace adamant
