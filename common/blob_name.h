// SPDX-License-Identifier: Apache-2.0
// How blobs are named, and checks of the identifiers that file names are built from.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/blob.pb.h"

namespace adamant {

inline constexpr int64_t kMaxBlobBytes = int64_t{16} << 30;

// INVALID_ARGUMENT / INVALID_SPEC unless the digest is 64 lower-case hex digits and the size is not
// negative, INVALID_ARGUMENT / BLOB_TOO_LARGE above kMaxBlobBytes.
absl::Status CheckBlobRef(const v1::BlobRef& blob);

// 8-4-4-4-12 lower-case or upper-case hex digits.
bool IsUuid(absl::string_view text);

// `blobs/{sha256}/{size}`.
std::string BlobName(const v1::BlobRef& blob);
// The reverse. INVALID_ARGUMENT / INVALID_SPEC for another form, and as CheckBlobRef.
absl::StatusOr<v1::BlobRef> ParseBlobName(absl::string_view name);

}  // namespace adamant
