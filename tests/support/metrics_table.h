// SPDX-License-Identifier: Apache-2.0
// The table of metrics of the service contract: every name with the series it may have at worst.
#pragma once

#include <string>
#include <vector>

#include "server/telemetry/metrics.h"

namespace adamant::testing {

struct Budget {
  std::vector<std::string> names;  // families that share it
  int series;
};

inline const std::vector<Budget>& MetricsTable() {
  static const auto* const table = new std::vector<Budget>{
      {{"adamant_build_info", "process_cpu_seconds_total", "process_resident_memory_bytes",
        "process_virtual_memory_bytes", "process_open_fds", "process_max_fds",
        "process_start_time_seconds"},
       11},
      {{"grpc_server_started_total"}, 34},
      {{"grpc_server_handled_total"}, 200},
      {{"grpc_server_msg_received_total", "grpc_server_msg_sent_total"}, 12},
      {{"grpc_server_handling_seconds"}, 26 * 13},
      {{"grpc_server_in_flight"}, 7},
      {{"adamant_jobs_submitted_total"}, 9},
      {{"adamant_jobs_finished_total"}, 51},
      {{"adamant_jobs"}, 30},
      {{"adamant_job_attempts_total"}, 24},
      {{"adamant_job_queue_wait_seconds"}, 3 * 17},
      {{"adamant_job_run_seconds"}, 3 * 15},
      {{"adamant_job_start_seconds"}, 3 * 13},
      {{"adamant_oldest_queued_job_timestamp_seconds",
        "adamant_last_job_success_timestamp_seconds"},
       6},
      {{"adamant_train_steps_total", "adamant_train_samples_total"}, 12},
      {{"adamant_train_step_seconds"}, 5 * 14},
      {{"adamant_attack_samples_total", "adamant_attack_successes_total",
        "adamant_attack_gradient_queries_total"},
       96},
      {{"adamant_explain_maps_total", "adamant_explain_seconds"}, 13 + 12},
      {{"adamant_active_job_metric", "adamant_slot_job_info"}, 96},
      {{"adamant_nonfinite_losses_total"}, 3},
      {{"adamant_blob_bytes_total", "adamant_blob_transfers_total",
        "adamant_blob_transfer_seconds"},
       38},
      {{"adamant_cas_bytes", "adamant_cas_objects", "adamant_cas_capacity_bytes",
        "adamant_cas_evictions_total", "adamant_cas_corruptions_total"},
       5},
      {{"adamant_watchers", "adamant_events_appended_total", "adamant_events_sent_total",
        "adamant_watch_lag_events", "adamant_watch_dropped_total"},
       15},
      {{"adamant_store_transaction_seconds", "adamant_store_errors_total"}, 6 * 14 + 4},
      {{"adamant_lease_renewals_total", "adamant_lease_lost_total",
        "adamant_fenced_writes_rejected_total", "adamant_jobs_recovered_total"},
       6},
      {{"adamant_workers", "adamant_worker_exits_total"}, 10},
      {{"adamant_gpu_memory_used_bytes", "adamant_gpu_memory_total_bytes",
        "adamant_gpu_utilization_ratio", "adamant_gpu_energy_joules_total",
        "adamant_gpu_temperature_celsius", "adamant_gpu_xid_errors_total", "adamant_gpu_healthy",
        "adamant_gpu_slots"},
       80},
      {{"adamant_auth_failures_total", "adamant_quota_rejections_total", "adamant_draining",
        "adamant_insecure_bind"},
       16},
      {{"adamant_collector_duration_seconds", "adamant_collector_errors_total"}, 8},
  };
  return *table;
}

inline constexpr int kMaxSeries = 1500;

// More slots, attacks and explainers than the table has room for.
inline MetricsOptions LargestOptions() {
  MetricsOptions options{.version = "1", .commit = "c", .libtorch = "2", .grpc = "g", .slots = 20};
  for (int i = 0; i < 40; ++i) options.attacks.push_back("attack" + std::to_string(i));
  for (int i = 0; i < 20; ++i) options.explainers.push_back("explainer" + std::to_string(i));
  return options;
}

// Ten GPUs with a slot each, and ten CPU slots, of which some are busy.
inline void AddLargestMachine(Metrics& metrics) {
  metrics.AddCollector("gpu", [](MetricsSample& sample) {
    for (int i = 0; i < 10; ++i) {
      sample.gpus.push_back({.index = i, .memory_total_bytes = 80, .xid_errors = 1});
      sample.slots.push_back(
          {.device = "cuda:" + std::to_string(i), .kind = "train", .healthy = i != 1});
    }
    for (const char* kind : {"", "train", "attack", "explain"})
      sample.slots.push_back({.device = "cpu", .kind = kind});
    for (int i = 0; i < 10; ++i) sample.slots.push_back({.device = "cpu", .healthy = false});
    return absl::OkStatus();
  });
}

}  // namespace adamant::testing
