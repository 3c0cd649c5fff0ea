// SPDX-License-Identifier: Apache-2.0
// Tar archives of uploads, read with libarchive: tar formats only, no compression, regular files
// and folders only (reliability.md 3.4).
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/data/dataset.h"

namespace adamant {

struct TarEntry {
  std::string name;  // no trailing slash
  bool folder = false;
  absl::string_view data;  // within the file's view
};

// INVALID_ARGUMENT / TAR_INVALID for names other than relative ones of `[A-Za-z0-9._/ -]` up to 255
// bytes, empty, `.` or `..` parts, duplicates, links, devices, sparse files, bad checksums, and an
// end that is not two zero blocks followed by zeros only.
absl::StatusOr<std::vector<TarEntry>> ReadTar(const NamedFile& file);

}  // namespace adamant
