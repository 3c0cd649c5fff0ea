// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/telemetry/labelled.h"
#include "server/telemetry/metrics_sample.h"

namespace adamant {

struct MetricsOptions;

// Metrics that are read when the endpoint is scraped, at most once a second. Thread-safe.
class ScrapeMetrics {
 public:
  ScrapeMetrics(prometheus::Registry& registry, const MetricsOptions& options);

  void AddCollector(absl::string_view name, SampleCollector collector);
  void RemoveCollectors();

  // Runs the collectors unless they ran within the last second.
  void Refresh();

 private:
  struct Named {
    std::string name;
    SampleCollector collect;
  };

  void MakeJobs(int slots);
  void Show(const MetricsSample& sample);
  void ShowJobs(const MetricsSample& sample);
  void ShowSlots(const std::vector<SlotSample>& slots);
  void ShowGpus(const MetricsSample& sample);
  absl::Status ShowProcess();

  const Gauges jobs_, oldest_queued_, last_success_;  // kind, state; kind
  const Gauges active_, slot_info_;                   // slot, name; slot, device, kind
  const Gauges workers_;                              // state
  const Gauges gpu_used_, gpu_total_, gpu_utilization_, gpu_temperature_, gpu_healthy_;  // gpu
  const Counters gpu_energy_, gpu_xid_;                                                  // gpu
  const Gauges gpu_slots_;  // gpu, state
  prometheus::Gauge& cas_bytes_;
  prometheus::Gauge& cas_objects_;
  prometheus::Gauge& cas_capacity_;
  prometheus::Counter& cas_evictions_;
  prometheus::Counter& cas_corruptions_;
  prometheus::Gauge& watchers_;
  prometheus::Gauge& draining_;
  prometheus::Gauge& insecure_bind_;
  const Gauges collector_seconds_;   // collector
  const Counters collector_errors_;  // collector
  prometheus::Counter& process_cpu_;
  prometheus::Gauge& process_resident_;
  prometheus::Gauge& process_virtual_;
  prometheus::Gauge& process_open_fds_;
  prometheus::Gauge& process_max_fds_;
  prometheus::Gauge& process_start_;

  absl::Mutex mutex_;
  std::vector<Named> collectors_ ABSL_GUARDED_BY(mutex_);
  absl::Time refreshed_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::vector<std::vector<std::string>> shown_slots_ ABSL_GUARDED_BY(mutex_);  // of slot_info_
};

}  // namespace adamant
