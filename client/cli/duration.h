// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"

namespace adamant {

// "90", "90s", "1.5h", "2h30m", "7d": a span of time >= 0; without a unit seconds. `flag` is named
// in the usage error.
absl::StatusOr<absl::Duration> ParseSpan(absl::string_view flag, absl::string_view text);

// A point in time: RFC 3339, `2026-01-02`, or a span before `now`.
absl::StatusOr<absl::Time> ParseSince(absl::string_view flag, absl::string_view text,
                                      absl::Time now);

google::protobuf::Duration ToProto(absl::Duration span);

}  // namespace adamant
