// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "adamant/v1/system.pb.h"
#include "server/store/job_store.h"
#include "server/telemetry/metrics.h"

namespace adamant {

// Turns commits of the store into log lines and metrics: one line per transition, worker start and
// worker exit. Thread-safe.
class JobTelemetry : public StoreObserver {
 public:
  explicit JobTelemetry(Metrics& metrics);

  // Counts the jobs that an earlier process left, in the background; `store` must outlive that.
  void CountStored(JobStore& store);

  void OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) override;

  // Adds the jobs by state, and the newest metrics of each slot.
  void Sample(const std::vector<v1::SlotStatus>& slots, MetricsSample& sample) const;

 private:
  struct Live {
    v1::JobKind kind;
    v1::JobState state;
    int64_t steps = 0;  // of training, already counted
    std::map<std::string, double> metrics;
  };

  void CountPage(JobStore& store, JobListQuery query);
  void OnTransition(const v1::Job& job, const v1::JobEvent& event);
  void OnMetrics(const v1::Job& job, const v1::MetricEvent& event, Live& live);
  void OnEnd(const v1::Job& job, int64_t counted_steps);

  Metrics& metrics_;
  const absl::Time started_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Live> live_ ABSL_GUARDED_BY(mutex_);  // by name
  std::map<std::pair<v1::JobKind, v1::JobState>, int64_t> ended_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace adamant
