// SPDX-License-Identifier: Apache-2.0
// Bytes in an anonymous file that nobody can change any more: how the server and a worker hand each
// other a message that is too long for a frame.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/files.h"

namespace adamant {

// `bytes`, at least one, as a sealed memfd.
absl::StatusOr<Descriptor> SealedMemory(absl::string_view bytes);

// Maps what the other side sent. INVALID_ARGUMENT unless it is a memfd of 1 to `max_bytes` bytes
// that is sealed against writing, growing and shrinking.
absl::StatusOr<std::shared_ptr<const FileView>> OpenSealedMemory(int fd, int64_t max_bytes);

}  // namespace adamant
