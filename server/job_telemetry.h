// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "adamant/v1/system.pb.h"
#include "server/jobs/run_observer.h"
#include "server/store/job_store.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/run_counters.h"

namespace adamant {

// Turns commits of the store and news of running jobs into log lines and metrics: one line per
// transition, worker start and worker exit. Thread-safe.
class JobTelemetry : public StoreObserver, public RunObserver {
 public:
  explicit JobTelemetry(Metrics& metrics);

  // Counts the jobs that an earlier process left, in the background; `store` must outlive that.
  void CountStored(JobStore& store);

  void OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) override;
  void OnJobGone(const v1::Job& job) override;

  void OnWorkerStarted(const std::string& job, int attempt, int pid) override;
  void OnWorkerExited(const WorkerExit& exit) override;
  void OnFirstStep(v1::JobKind kind, absl::Duration since_claim) override;
  void OnLeaseRenewed(bool kept) override;
  void OnFenced() override;
  void OnProbe(const std::string& device, bool healthy) override;

  // Adds jobs by state, workers by what they do, and what each slot runs.
  void Sample(const std::vector<v1::SlotStatus>& slots, MetricsSample& sample) const;

 private:
  struct Live {
    v1::JobKind kind = v1::JOB_KIND_UNSPECIFIED;
    v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
    absl::Time queued;
    RunCounters counters;
  };

  // How far CountStored has read: jobs up to here are counted.
  struct Position {
    int64_t create_nanos = 0;
    std::string uid;
  };

  void CountPage(JobStore& store, JobListQuery query);
  bool Counted(const v1::Job& job) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Follow(const v1::Job& job, const std::vector<v1::JobEvent>& new_events);
  void CountTransition(const v1::Job& job, const v1::JobEvent& event);

  Metrics& metrics_;
  const absl::Time started_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Live> live_ ABSL_GUARDED_BY(mutex_);  // by name
  std::map<std::pair<v1::JobKind, v1::JobState>, int64_t> ended_ ABSL_GUARDED_BY(mutex_);
  std::map<v1::JobKind, double> last_success_ ABSL_GUARDED_BY(mutex_);
  int64_t service_workers_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<Position> counting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace adamant
