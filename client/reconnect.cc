// SPDX-License-Identifier: Apache-2.0
#include "client/reconnect.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/error.h"

namespace adamant {
namespace {

// A break of the connection shows as UNAVAILABLE, and as the others when it hits in mid-message.
bool CanResume(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded:
      return true;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return DecodeError(status).reason.empty();
    default:
      return false;
  }
}

}  // namespace

void Client::Reconnect::Progress() {
  backoff_ = absl::ZeroDuration();
  silent_since_ = absl::InfiniteFuture();
}

absl::Status Client::Reconnect::Next(const absl::Status& broken) {
  if (cancel_ != nullptr && cancel_->cancelled()) return absl::CancelledError("interrupted");
  if (!CanResume(broken)) return broken;
  const absl::Time now = absl::Now();
  silent_since_ = std::min(silent_since_, now);
  if (now - silent_since_ > client_.options_.reconnect_limit) return broken;
  client_.Debug(absl::StrCat(what_, " broke: ", broken.message(), "; trying again"));
  backoff_ = backoff_ == absl::ZeroDuration() ? client_.options_.first_backoff
                                              : std::min(2 * backoff_, absl::Seconds(5));
  const absl::Duration pause = std::max(
      backoff_,
      std::min(DecodeError(broken).retry_after.value_or(absl::ZeroDuration()), absl::Seconds(30)));
  CancelToken none;
  if (!(cancel_ != nullptr ? cancel_ : &none)->Sleep(pause)) {
    return absl::CancelledError("interrupted");
  }
  return absl::OkStatus();
}

}  // namespace adamant
