// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace adamant {

// What, beside the spec, decides the bits of a result: "libtorch=2.13.0; cpu=AVX512; threads=2;
// ...".
std::string Fingerprint(absl::string_view device);

// The first item that differs, e.g. "threads=2 instead of threads=4"; "" when both are equal.
std::string FingerprintDifference(absl::string_view now, absl::string_view before);

}  // namespace adamant
