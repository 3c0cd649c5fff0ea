// SPDX-License-Identifier: Apache-2.0
#include "server/blobs/blob_names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/blob_name.h"
#include "common/error_reason.h"

namespace adamant {
namespace {

constexpr char kUploadWord[] = "upload-";
constexpr size_t kMaxTenant = 63;

bool IsTenant(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxTenant &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' || c == '_';
         });
}

absl::Status Invalid(absl::string_view message) {
  return WithReason(absl::InvalidArgumentError(message), "INVALID_SPEC");
}

}  // namespace

std::string ObjectPath(const v1::BlobRef& blob) {
  return absl::StrCat(blob.sha256().substr(0, 2), "/", blob.sha256());
}

absl::Status CheckUploadKey(const UploadKey& key) {
  if (!IsTenant(key.tenant)) return Invalid("the tenant of an upload has no usable name");
  if (!IsUuid(key.id)) return Invalid("the id of an upload must be a UUID");
  return CheckBlobRef(key.blob);
}

std::string UploadPrefix(absl::string_view tenant) {
  return absl::StrCat(kUploadWord, tenant, ".");
}

std::string UploadFile(const UploadKey& key) {
  return absl::StrCat(UploadPrefix(key.tenant), absl::AsciiStrToLower(key.id), "-",
                      key.blob.sha256(), "-", key.blob.size_bytes());
}

std::string CopyFile(int64_t number) { return absl::StrCat("copy-", number); }

bool IsUploadFile(absl::string_view name) { return absl::StartsWith(name, kUploadWord); }

}  // namespace adamant
