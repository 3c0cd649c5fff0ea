// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "server/store/job_store.h"

namespace adamant {

// Calls `start(reply)` and blocks until the reply came:
//   Await<v1::Job>([&](auto reply) { store.GetJob(tenant, uid, std::move(reply)); })
// Never from a reply, an observer or a gRPC callback.
template <typename T, typename Start>
absl::StatusOr<T> Await(Start&& start) {
  struct Slot {
    absl::Notification done;
    absl::StatusOr<T> value;
  };
  const auto slot = std::make_shared<Slot>();
  start(Reply<T>([slot](absl::StatusOr<T> value) {
    slot->value = std::move(value);
    slot->done.Notify();
  }));
  slot->done.WaitForNotification();
  return std::move(slot->value);
}

}  // namespace adamant
