// SPDX-License-Identifier: Apache-2.0
// The refusals of the store.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/blob.pb.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

absl::Status JobNotFound(absl::string_view uid);
// `name` is `models/{id}` or `datasets/{id}`.
absl::Status ResourceNotFound(absl::string_view name);
absl::Status WrongState(const v1::Job& job);
absl::Status Fenced();
absl::Status BlobsMissing(const std::vector<v1::BlobRef>& blobs);

}  // namespace adamant
