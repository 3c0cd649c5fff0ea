// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace adamant {

// Three lines: what failed, why, what to do; every violation on a line of its own below "why".
// `server` is the address that was asked; `debug` adds the metadata.
std::string RenderError(absl::string_view action, const absl::Status& status,
                        absl::string_view server, bool debug, absl::string_view trace_id = "");

// The ErrorInfo reason, or the name of the status code when there is none.
std::string ErrorCodeText(const absl::Status& status);

}  // namespace adamant
