// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "client/cancel.h"
#include "client/client.h"

namespace adamant {

// Decides after a broken stream whether to try again, and waits. Not thread-safe.
class Client::Reconnect {
 public:
  Reconnect(const Client& client, CancelToken* cancel, std::string what)
      : client_(client), cancel_(cancel), what_(std::move(what)) {}

  // Call when bytes or events arrived: the backoff and the time limit start anew.
  void Progress();

  // OK: try again now (after the backoff). Otherwise the error to return: `broken` when it cannot
  // be cured by trying again or the limit is over, CANCELLED when the token was cancelled.
  absl::Status Next(const absl::Status& broken);

 private:
  const Client& client_;
  CancelToken* const cancel_;
  const std::string what_;
  absl::Duration backoff_ = absl::ZeroDuration();
  absl::Time silent_since_ = absl::InfiniteFuture();
};

}  // namespace adamant
