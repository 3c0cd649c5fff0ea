// SPDX-License-Identifier: Apache-2.0
// Where the local blob store keeps what: names are built from checked identifiers only.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/blob.pb.h"
#include "server/blobs/blob_store.h"

namespace adamant {

// Below objects/.
std::string ObjectPath(const v1::BlobRef& blob);

// INVALID_ARGUMENT unless the id is a UUID, the tenant a name and the blob well-formed.
absl::Status CheckUploadKey(const UploadKey& key);

// Below staging/: `upload-TENANT.UUID-SHA256-SIZE`, `copy-N`.
std::string UploadPrefix(absl::string_view tenant);
std::string UploadFile(const UploadKey& key);
std::string CopyFile(int64_t number);
bool IsUploadFile(absl::string_view name);

}  // namespace adamant
