// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

// `state = RUNNING AND kind = TRAIN`: terms `field = VALUE` joined by AND, fields state and kind.
// Empty text gives an empty function. INVALID_ARGUMENT / BAD_FILTER with the position otherwise.
absl::StatusOr<std::function<bool(const v1::Job&)>> ParseJobFilter(absl::string_view text);

}  // namespace adamant
