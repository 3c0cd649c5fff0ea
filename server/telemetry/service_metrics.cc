// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/service_metrics.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace adamant {
namespace {

const Buckets kTransferSeconds{.01, .05, .25, 1, 5, 15, 60, 300, 1800, 7200};
const Buckets kTransactionSeconds{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5};
const Buckets kLagEvents{10, 100, 1000, 10000, 100000};

struct Quota {
  absl::string_view reason;
  const char* label;
};
constexpr Quota kQuotas[] = {{"QUOTA_JOBS", "jobs"},       {"QUOTA_BYTES", "bytes"},
                             {"QUOTA_UPLOADS", "uploads"}, {"RATE_LIMITED", "rate"},
                             {"QUEUE_FULL", "queue"},      {"MEMORY_FULL", "memory"},
                             {"STORAGE_FULL", "storage"},  {"NO_INTERACTIVE_SLOT", "interactive"}};
constexpr const char* kAuthFailures[] = {"no_credential", "bad_credential", "credential_expired",
                                         "role_denied"};

void MakeMembers(Labelled<prometheus::Counter>& family, std::initializer_list<const char*> names) {
  for (const char* name : names) family.Make({name});
}

}  // namespace

ServiceMetrics::ServiceMetrics(prometheus::Registry& registry)
    : blob_bytes(MakeCounters(registry, "adamant_blob_bytes_total", "Bytes of blobs transferred",
                              {"direction"}, 2)),
      blob_transfers(MakeCounters(registry, "adamant_blob_transfers_total", "Transfers of blobs",
                                  {"direction", "result"}, 10)),
      blob_seconds(MakeHistograms(registry, "adamant_blob_transfer_seconds",
                                  "Time of a transfer, from the call to its end", {"direction"}, 2,
                                  kTransferSeconds)),
      events_appended(
          MakeCounter(registry, "adamant_events_appended_total", "Durable events stored")),
      events_sent(MakeCounter(registry, "adamant_events_sent_total", "Events sent to watchers")),
      watch_lag(MakeHistogram(registry, "adamant_watch_lag_events",
                              "Events that a watch has still to send when it sends one",
                              kLagEvents)),
      watch_dropped(MakeCounters(registry, "adamant_watch_dropped_total",
                                 "Watches that the server ended before their job did", {"reason"},
                                 4)),
      transaction_seconds(MakeHistograms(registry, "adamant_store_transaction_seconds",
                                         "Time of a transaction, by what dominated it", {"op"}, 6,
                                         kTransactionSeconds)),
      store_errors(MakeCounters(registry, "adamant_store_errors_total", "Failed store operations",
                                {"op"}, 4)),
      lease_renewals(MakeCounters(registry, "adamant_lease_renewals_total",
                                  "Renewals of the leases of attempts", {"result"}, 2)),
      leases_lost(MakeCounter(registry, "adamant_lease_lost_total",
                              "Attempts that ended because their lease was gone")),
      writes_fenced(MakeCounter(registry, "adamant_fenced_writes_rejected_total",
                                "Writes of attempts that no longer own their job")),
      worker_exits(MakeCounters(registry, "adamant_worker_exits_total",
                                "Worker processes that ended, by cause", {"cause"}, 6)),
      auth_failures(MakeCounters(registry, "adamant_auth_failures_total",
                                 "Calls without a valid credential or the needed role", {"reason"},
                                 5)),
      quota_rejections(MakeCounters(registry, "adamant_quota_rejections_total",
                                    "Calls refused because a limit was reached", {"quota"}, 9)) {
  for (const char* direction : {"upload", "download"}) {
    blob_bytes->Make({direction});
    blob_seconds->Make({direction});
    for (const char* result : {"ok", "resumed", "dedup", "mismatch", "aborted"})
      blob_transfers->Make({direction, result});
  }
  MakeMembers(*watch_dropped, {"slow_consumer", "max_age", "draining", "other"});
  for (const char* op : {"submit", "claim", "transition", "events", "read", "other"})
    transaction_seconds->Make({op});
  MakeMembers(*store_errors, {"commit", "read", "backup", "other"});
  MakeMembers(*lease_renewals, {"ok", "lost"});
  MakeMembers(*worker_exits, {"ok", "error", "signal", "oom", "device", "lost"});
  for (const char* reason : kAuthFailures) auth_failures->Make({reason});
  auth_failures->MakeOverflow();
  for (const Quota& quota : kQuotas) quota_rejections->Make({quota.label});
  quota_rejections->MakeOverflow();
}

void ServiceMetrics::CountFailure(absl::string_view method, absl::string_view reason) {
  if (absl::EndsWith(method, "/WatchJob")) {
    if (reason == "SLOW_CONSUMER") watch_dropped->Known({"slow_consumer"}).Increment();
    if (reason == "STREAM_MAX_AGE") watch_dropped->Known({"max_age"}).Increment();
    if (reason == "DRAINING") watch_dropped->Known({"draining"}).Increment();
    if (reason == "STORE_UNAVAILABLE") watch_dropped->Known({"other"}).Increment();
  }
  const std::string lower = absl::AsciiStrToLower(reason);
  if (auth_failures->Find({lower}) != nullptr) auth_failures->Known({lower}).Increment();
  for (const Quota& quota : kQuotas) {
    if (quota.reason == reason) return quota_rejections->Known({quota.label}).Increment();
  }
  if (absl::StartsWith(reason, "QUOTA_")) quota_rejections->MakeOverflow().Increment();
}

}  // namespace adamant
