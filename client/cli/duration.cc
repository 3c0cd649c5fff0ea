// SPDX-License-Identifier: Apache-2.0
#include "client/cli/duration.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/exit_code.h"

namespace adamant {

absl::StatusOr<absl::Duration> ParseSpan(absl::string_view flag, absl::string_view text) {
  double number = 0;
  absl::Duration span = absl::ZeroDuration();
  absl::string_view days = text;
  bool ok = true;
  if (absl::SimpleAtod(text, &number)) {
    span = absl::Seconds(number);
  } else if (absl::ConsumeSuffix(&days, "d") && absl::SimpleAtod(days, &number)) {
    span = number * absl::Hours(24);
  } else {
    ok = absl::ParseDuration(text, &span);
  }
  if (!ok || span < absl::ZeroDuration() || span == absl::InfiniteDuration()) {
    return UsageError(
        absl::StrCat(flag, " ", text, " is no span of time, e.g. 90s, 10m, 2h or 7d"));
  }
  return span;
}

absl::StatusOr<absl::Time> ParseSince(absl::string_view flag, absl::string_view text,
                                      absl::Time now) {
  absl::Time time;
  std::string error;
  for (const char* format :
       {absl::RFC3339_full, "%Y-%m-%d %H:%M:%E*S", "%Y-%m-%dT%H:%M:%E*S", "%Y-%m-%d"}) {
    if (absl::ParseTime(format, text, absl::LocalTimeZone(), &time, &error)) return time;
  }
  const auto span = ParseSpan(flag, text);
  if (span.ok()) return now - *span;
  return UsageError(absl::StrCat(flag, " ", text,
                                 " is neither a span (10m, 2h, 1d) nor a time "
                                 "(2026-01-02T03:04:05Z)"));
}

google::protobuf::Duration ToProto(absl::Duration span) {
  google::protobuf::Duration proto;
  proto.set_seconds(absl::IDivDuration(span, absl::Seconds(1), &span));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(span)));
  return proto;
}

}  // namespace adamant
