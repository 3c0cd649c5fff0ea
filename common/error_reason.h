// SPDX-License-Identifier: Apache-2.0
// The machine-readable reason of an error. It travels inside absl::Status as a google.rpc.ErrorInfo
// payload, so that any layer may state it and the API passes it on unchanged.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace adamant {

inline constexpr absl::string_view kErrorDomain = "adamant.v1";

// Names and values that appear in the message, e.g. {"state", "RUNNING"}.
using ErrorMetadata = std::vector<std::pair<std::string, std::string>>;

// `status` with the reason, UPPER_SNAKE, e.g. "JOB_NOT_FOUND". An OK status is returned unchanged.
absl::Status WithReason(absl::Status status, absl::string_view reason,
                        const ErrorMetadata& metadata = {});

// The reason, or "" when none was given.
std::string ReasonOf(const absl::Status& status);

}  // namespace adamant
