// SPDX-License-Identifier: Apache-2.0
// Files that a spec names: `file:PATH` as the digest of a blob or as the name of an image.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "adamant/v1/blob.pb.h"
#include "google/protobuf/message.h"

namespace adamant {

inline constexpr char kSpecFilePrefix[] = "file:";

// Makes relative paths in `message` relative to `folder` instead.
void RebaseSpecFiles(const std::string& folder, google::protobuf::Message& message);

// Replaces every file by its blob, which `upload` makes, and reads images into the message.
absl::Status UploadSpecFiles(
    google::protobuf::Message& message,
    const std::function<absl::StatusOr<v1::BlobRef>(const std::string& path)>& upload);

}  // namespace adamant
