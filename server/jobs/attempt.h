// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/jobs/attempt_types.h"
#include "server/jobs/job_log.h"
#include "server/jobs/outcome.h"
#include "server/jobs/outputs.h"
#include "server/jobs/worker_link.h"
#include "server/workers/watchdog.h"

namespace adamant {

// One attempt of one job, from claim to final commit, driven step by step by its owner:
//   if (Begin()) { take a worker; OnWorker or OnNoWorker; while (supervising()) OnNews(...);
//   reap the worker }  End();
// Every write carries the fence of the claim; a refused one means that somebody else owns the job
// by now, and the worker is killed. Owned by one thread; Stop may be called by any. Blocks on the
// store and the disk, never on the worker.
class Attempt {
 public:
  Attempt(AttemptServices services, std::string uid, int slot, const Slot& place);

  // Claims the job and opens its inputs. False: no worker is needed.
  bool Begin();
  // `link` must outlive supervision. Sends Start.
  void OnWorker(WorkerLink& link);
  void OnNoWorker(const absl::Status& status);
  // What the worker printed.
  void OnOutput(absl::string_view bytes);
  // A frame, a protocol error, the exit with `wait_status`, or nothing until NextDeadline or a
  // Wake.
  void OnNews(WorkerNews& news, std::optional<int> wait_status);
  // What the worker may hold resident: what the job asked for, on a CPU slot. 0 = not limited.
  int64_t resident_limit_bytes() const;
  bool supervising() const { return link_ != nullptr; }
  absl::Time NextDeadline() const;  // steady
  // The final commit. Nothing is written for an attempt that was fenced or abandoned.
  void End();

  // A later reason replaces a milder one. `grace`: from the request to SIGTERM. kFence and kAbandon
  // kill at once, even while the attempt waits for the store.
  void Stop(StopReason reason, absl::Duration grace);

  // After End.
  AttemptOver over() const;
  const v1::Attempt& record() const { return attempt_; }
  const AttemptEnd& end() const { return end_; }

 private:
  static constexpr absl::Duration kExitLimit = absl::Seconds(5);  // from Result to the exit

  struct StopRequest {
    StopReason reason = StopReason::kNone;
    absl::Time kill_at = absl::InfiniteFuture();  // SIGTERM; SIGKILL follows
  };

  absl::Status Claim();
  void FillAttempt(v1::Job& job, absl::Time now) const;
  bool OpenInputs();
  void Commit();

  StopRequest CurrentStop() const;
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
  // `over_limit`: why it was killed for its memory, or OK.
  void OnExit(int wait_status, const absl::Status& over_limit);

  // A fenced write while the worker runs. ABORTED: the attempt lost its job and is over.
  // `may_linger` as in JobChange.
  absl::Status Change(std::function<absl::Status(JobDraft&)> apply, bool may_linger = false);
  // Publishes an output and stores what names it; tells the worker how it went.
  void Publish(int64_t output_id, const v1::BlobRef& blob,
               std::function<absl::Status(JobDraft&)> apply);
  void EndStopped(StopReason reason);
  void ProtocolError(absl::string_view what);
  void Kill(v1::AttemptOutcome outcome, absl::string_view message);
  void Fence(absl::string_view message);
  void Send(worker::v1::Frame frame, const std::vector<int>& descriptors = {});

  const AttemptServices services_;
  const std::string uid_;
  const int slot_;
  const Slot place_;

  mutable absl::Mutex mutex_;
  StopRequest stop_ ABSL_GUARDED_BY(mutex_);
  WorkerLink* running_ ABSL_GUARDED_BY(mutex_) = nullptr;  // what Stop may reach

  // The rest belongs to the owner.
  v1::Job job_;  // as claimed
  v1::Attempt attempt_;
  absl::Time claimed_at_;  // steady
  std::unique_ptr<StartPackage> package_;
  WorkerLink* link_ = nullptr;
  std::unique_ptr<JobLogWriter> log_;
  int64_t earlier_log_bytes_ = 0;  // of earlier attempts
  std::unique_ptr<WorkerOutputs> outputs_;
  std::optional<Watchdog> watchdog_;
  absl::flat_hash_set<std::string> published_;  // digests this job produced
  absl::flat_hash_set<std::string> metric_names_;
  AttemptEnd end_;
  bool claimed_ = false;
  bool ended_ = false;   // `end_` is decided; only the exit is awaited
  bool fenced_ = false;  // nothing may be written any more
  bool killed_ = false;  // a signal was sent while it worked
  StopReason told_ = StopReason::kNone;
  int signals_sent_ = 0;
  absl::Time deadline_ = absl::InfiniteFuture();  // of max_run_time
  absl::Time exit_by_ = absl::InfiniteFuture();   // once ended_
  absl::Time retry_at_ = absl::InfinitePast();
  std::optional<v1::Progress> progress_;  // the newest
  bool warned_nonfinite_ = false;
};

}  // namespace adamant
