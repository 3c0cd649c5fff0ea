// SPDX-License-Identifier: Apache-2.0
#include "common/blob_name.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/error_reason.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

bool IsLowerHex(char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); }

}  // namespace

absl::Status CheckBlobRef(const v1::BlobRef& blob) {
  const std::string& digest = blob.sha256();
  if (digest.size() != 64 || !std::all_of(digest.begin(), digest.end(), IsLowerHex)) {
    return WithReason(
        absl::InvalidArgumentError("the digest of a blob must be 64 lower-case hexadecimal digits"),
        "INVALID_SPEC");
  }
  if (blob.size_bytes() < 0)
    return WithReason(absl::InvalidArgumentError("the size of a blob must not be negative"),
                      "INVALID_SPEC");
  if (blob.size_bytes() > kMaxBlobBytes) {
    return WithReason(
        absl::InvalidArgumentError(absl::StrCat("a blob of ", blob.size_bytes(),
                                                " bytes is above the limit of ", kMaxBlobBytes)),
        "BLOB_TOO_LARGE", {{"limit", absl::StrCat(kMaxBlobBytes)}});
  }
  return absl::OkStatus();
}

bool IsUuid(absl::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !absl::ascii_isxdigit(text[i])) return false;
  }
  return true;
}

std::string BlobName(const v1::BlobRef& blob) {
  return absl::StrCat("blobs/", blob.sha256(), "/", blob.size_bytes());
}

absl::StatusOr<v1::BlobRef> ParseBlobName(absl::string_view name) {
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  v1::BlobRef blob;
  int64_t size = 0;
  if (parts.size() != 3 || parts[0] != "blobs" || !absl::SimpleAtoi(parts[2], &size)) {
    return WithReason(
        absl::InvalidArgumentError(absl::StrCat("\"", name.substr(0, 128),
                                                "\" is not a blob name; write blobs/SHA256/SIZE")),
        "INVALID_SPEC");
  }
  blob.set_sha256(std::string(parts[1]));
  blob.set_size_bytes(size);
  RETURN_IF_ERROR(CheckBlobRef(blob));
  return blob;
}

}  // namespace adamant
