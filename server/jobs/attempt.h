// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/blobs/blob_store.h"
#include "server/jobs/events.h"
#include "server/jobs/job_log.h"
#include "server/jobs/outcome.h"
#include "server/jobs/outputs.h"
#include "server/jobs/scheduler.h"
#include "server/store/job_store.h"
#include "server/workers/watchdog.h"
#include "server/workers/worker_pool.h"

namespace adamant {

// What attempts and validations work with; borrowed.
struct JobServices {
  JobStore& store;
  BlobStore& blobs;
  WorkerPool& pool;
  EventHub& hub;
  SchedulerOptions options;
};

enum class StopReason {
  kNone,
  kPause,    // asked by PauseJob: write a checkpoint
  kCancel,   // asked by CancelJob
  kTimeout,  // max_run_time is over
  kDrain,    // the server goes down: write a checkpoint
  kAbandon,  // kill at once and write nothing; the next start of the server recovers the job
};

v1::AttemptOutcome OutcomeOfStop(StopReason reason);
const char* MessageOfStop(StopReason reason);

// One attempt of one job, from claim to final commit, on the thread that calls Run. Every write
// carries the fence of the claim; a refused one means that somebody else owns the job by now, and
// the worker is killed. Stop may be called by any thread.
class Attempt {
 public:
  Attempt(const JobServices& services, std::string uid, int slot);

  // Blocks until the job has left the worker.
  void Run();
  // A later reason replaces a milder one. `grace`: from the request to SIGTERM.
  void Stop(StopReason reason, absl::Duration grace);

  // After Run: when the job may start again.
  absl::Time retry_at() const { return retry_at_; }

 private:
  static constexpr absl::Duration kExitLimit = absl::Seconds(5);  // from Result to the exit

  struct StopRequest {
    StopReason reason = StopReason::kNone;
    absl::Time kill_at = absl::InfiniteFuture();  // SIGTERM; SIGKILL follows
  };

  absl::Status Claim();
  bool StartWorker();  // false: `end_` says why
  void Supervise();
  void Commit();

  StopRequest CurrentStop() const;
  absl::Time NextDeadline() const;
  void HandleStop(absl::Time now);
  void HandleDeadlines(absl::Time now);
  void HandleFrame(ReceivedFrame& received);
  void OnHeartbeat(const worker::v1::Heartbeat& heartbeat);
  void OnProgress(v1::Progress progress);
  void OnMetric(const v1::MetricEvent& metric);
  void OnWarning(const v1::WarningEvent& warning);
  void OnLog(const worker::v1::Log& log);
  void OnOpenOutput(const worker::v1::OpenOutput& request);
  void OnCheckpoint(const worker::v1::Checkpoint& checkpoint);
  void OnArtifact(const worker::v1::Artifact& artifact);
  void OnResult(worker::v1::Result& result);
  void OnExit(int wait_status);

  // A fenced write while the worker runs. False: the attempt lost its job and is over.
  bool Change(std::vector<v1::JobState> states, std::function<absl::Status(JobDraft&)> apply);
  // Publishes an output and stores what names it; tells the worker how it went.
  void Publish(int64_t output_id, const v1::BlobRef& blob,
               std::function<absl::Status(JobDraft&)> apply);
  void WriteLog(absl::string_view bytes);
  void EndStopped(StopReason reason);
  void ProtocolError(absl::string_view what);
  void Kill(v1::AttemptOutcome outcome, absl::string_view message);
  void Reply(worker::v1::Frame frame, const std::vector<int>& descriptors = {});

  const JobServices& services_;
  const std::string uid_;
  const int slot_;

  mutable absl::Mutex mutex_;
  StopRequest stop_ ABSL_GUARDED_BY(mutex_);
  WorkerProcess* running_ ABSL_GUARDED_BY(mutex_) = nullptr;  // to wake

  // The rest belongs to Run's thread.
  v1::Job job_;  // as claimed
  v1::Attempt attempt_;
  std::optional<ReadyWorker> worker_;
  std::unique_ptr<JobLogWriter> log_;
  int64_t earlier_log_bytes_ = 0;  // of earlier attempts
  std::unique_ptr<WorkerOutputs> outputs_;
  std::optional<Watchdog> watchdog_;
  absl::flat_hash_set<std::string> published_;  // digests this job produced
  absl::flat_hash_set<std::string> metric_names_;
  AttemptEnd end_;
  bool ended_ = false;   // `end_` is decided; only the exit is awaited
  bool fenced_ = false;  // nothing may be written any more
  StopReason told_ = StopReason::kNone;
  int signals_sent_ = 0;
  absl::Time deadline_ = absl::InfiniteFuture();  // of max_run_time
  absl::Time exit_by_ = absl::InfiniteFuture();   // once ended_
  absl::Time retry_at_ = absl::InfinitePast();
  std::optional<v1::Progress> progress_;  // the newest
  bool warned_nonfinite_ = false;
};

}  // namespace adamant
