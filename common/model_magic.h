// SPDX-License-Identifier: Apache-2.0
// Model formats by their first bytes: what the server refuses at registration and core before it
// reads a file.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/model.pb.h"

namespace adamant {

// How many bytes ModelFormatByMagic looks at.
inline constexpr size_t kModelMagicBytes = 9;

// INVALID_ARGUMENT: `why`, and what is accepted.
absl::Status RefusedModelFormat(absl::string_view why);

// TORCHSCRIPT for any zip archive: whether it holds a program is for core to say. INVALID_ARGUMENT
// for an empty file, pickle, HDF5, gzip, 7z, GGUF, programs, scripts and anything else.
absl::StatusOr<v1::ModelFormat> ModelFormatByMagic(absl::string_view bytes);

}  // namespace adamant
