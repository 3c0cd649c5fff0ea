// SPDX-License-Identifier: Apache-2.0
// What bounds the calls of this server: the defaults of service.md 6, 8 and reliability.md 5.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace adamant {

struct ApiLimits {
  double rpc_starts_per_second = 500;  // per peer; 0 = no limit
  double rpc_burst = 1000;
  double submits_per_second = 50;  // per tenant; 0 = no limit
  double submit_burst = 200;
  int64_t call_memory_bytes = int64_t{512} << 20;  // of all calls in flight
  int max_watchers = 2000;
  int max_watchers_per_tenant = 500;
  absl::Duration unary_cap = absl::Seconds(30);  // of a unary call that sets no deadline
  absl::Duration drain_grace = absl::Seconds(15);

  // Of a watch.
  absl::Duration bookmark_after = absl::Seconds(15);
  absl::Duration slow_after = absl::Seconds(30);
  absl::Duration stream_max_age = absl::Hours(1);

  // Of a connection.
  absl::Duration keepalive_time = absl::Seconds(30);
  absl::Duration keepalive_timeout = absl::Seconds(10);
  absl::Duration min_ping_interval = absl::Seconds(20);
};

}  // namespace adamant
