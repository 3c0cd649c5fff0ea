// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/strings/string_view.h"
#include "server/telemetry/labelled.h"

namespace adamant {

// The families that blobs, the store, watches, workers and refused calls count into, with their
// known members.
struct ServiceMetrics {
  explicit ServiceMetrics(prometheus::Registry& registry);

  // Counts a failed call by the reason of its ErrorInfo, if that is of interest here. Thread-safe.
  void CountFailure(absl::string_view method, absl::string_view reason);

  const Counters blob_bytes, blob_transfers;  // direction, result
  const Histograms blob_seconds;              // direction
  prometheus::Counter& events_appended;
  prometheus::Counter& events_sent;
  prometheus::Histogram& watch_lag;
  const Counters watch_dropped;          // reason
  const Histograms transaction_seconds;  // op
  const Counters store_errors;           // op
  const Counters lease_renewals;         // result
  prometheus::Counter& leases_lost;
  prometheus::Counter& writes_fenced;
  const Counters worker_exits;      // cause
  const Counters auth_failures;     // reason
  const Counters quota_rejections;  // quota
};

}  // namespace adamant
