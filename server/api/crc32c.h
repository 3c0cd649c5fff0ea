// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace adamant {

// CRC-32C (Castagnoli, RFC 3720 appendix B.4).
uint32_t Crc32c(absl::Span<const absl::string_view> pieces);
inline uint32_t Crc32c(absl::string_view bytes) { return Crc32c(absl::MakeConstSpan(&bytes, 1)); }

}  // namespace adamant
