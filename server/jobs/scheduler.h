// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "adamant/v1/dataset.pb.h"
#include "adamant/v1/job.pb.h"
#include "adamant/v1/model.pb.h"
#include "adamant/v1/system.pb.h"
#include "server/blobs/blob_store.h"
#include "server/jobs/events.h"
#include "server/store/job_store.h"
#include "server/workers/worker_pool.h"

namespace adamant {

class Clock;
struct AttemptOver;
class RunObserver;

// What a device says of itself, beside what the scheduler placed there.
struct DeviceCondition {
  int64_t free_bytes = 0;
  int64_t total_bytes = 0;
  std::string unhealthy;  // why nothing should run there; empty = healthy
};

struct SchedulerOptions {
  std::string log_folder;                           // job logs; see job_log.h
  std::string scratch_folder;                       // unnamed output files of workers
  absl::Duration cancel_grace = absl::Seconds(10);  // Cancel frame, then SIGTERM
  absl::Duration pause_grace = absl::Seconds(15);   // Drain frame, then SIGTERM
  absl::Duration kill_grace = absl::Seconds(2);     // SIGTERM, then SIGKILL
  absl::Duration retry_base = absl::Seconds(1);     // doubles per lost worker, cap 60 s
  absl::Duration validation_limit = absl::Seconds(60);
  int64_t validation_memory_bytes = int64_t{4} << 30;
  int max_validations = 2;
  int max_queued_jobs = 10000;
  int max_queued_jobs_per_tenant = 1000;
  absl::Duration max_skip = absl::Minutes(10);  // a job too large for the room left waits no longer
  // Renewed every third of it; an owner that could not renew gives up a sixth before its end.
  absl::Duration lease_ttl = absl::Seconds(30);
  absl::Duration housekeeping_every = absl::Minutes(1);
  std::map<std::string, double> tenant_weights;  // of the fair share; default 1

  // The memory ledgers: bytes that jobs may use together, and per device ("cuda:0"). 0 or absent =
  // not limited.
  int64_t host_memory_bytes = 0;
  std::map<std::string, int64_t> device_memory_bytes;
  // Fills what a job leaves unset of its resources. Unset = nothing is assumed.
  std::function<v1::Resources(const v1::JobSpec&, const v1::Model* model, const v1::Dataset* data)>
      estimate;
  // The condition of a slot's device, or nothing when it is not known. Must not block.
  std::function<std::optional<DeviceCondition>(int slot)> device_condition;

  RunObserver* observer = nullptr;  // borrowed, like the clock
  const Clock* clock = nullptr;     // unset = the real one
};

struct SchedulerStatus {
  std::vector<v1::SlotStatus> slots;
  int queued_jobs = 0;
  int running_jobs = 0;
  bool draining = false;
};

// Runs the accepted jobs: decides which one gets a free slot, supervises its attempt on a thread of
// its own, retries, cancels, recovers after a restart, and validates uploaded models and data. The
// store is the truth; what the scheduler keeps in memory follows its commits. Thread-safe.
//
// The API writes through here where the scheduler has a part in it (submit, cancel, register) and
// reads from the store directly.
class Scheduler {
 public:
  // All are borrowed and must outlive the scheduler, which adds itself and `hub` as observers of
  // `store`.
  Scheduler(JobStore& store, BlobStore& blobs, WorkerPool& pool, EventHub& hub,
            SchedulerOptions options);
  // Kills what still runs; those jobs continue after the next start.
  ~Scheduler();

  // Recovers what an earlier process left, then begins to run jobs. Blocks on the store.
  absl::Status Start();

  // UNAVAILABLE / DRAINING after StopAdmission; RESOURCE_EXHAUSTED / QUEUE_FULL.
  void Submit(NewJob job, Reply<SubmittedJob> reply);
  // Idempotent. FAILED_PRECONDITION / WRONG_STATE for a job that succeeded or failed. A non-empty
  // `etag` must be the job's: ABORTED / ETAG_MISMATCH.
  void Cancel(std::string tenant, std::string uid, std::string etag, Reply<v1::Job> reply);
  // Idempotent. QUEUED becomes PAUSED; a running job is asked to checkpoint and stop. WRONG_STATE
  // for a terminal or cancelling job; ETAG_MISMATCH.
  void Pause(std::string tenant, std::string uid, std::string etag, Reply<v1::Job> reply);
  // Idempotent. PAUSED becomes QUEUED. WRONG_STATE for PAUSING, CANCELLING and terminal jobs;
  // ETAG_MISMATCH; UNAVAILABLE / DRAINING.
  void Resume(std::string tenant, std::string uid, std::string etag, Reply<v1::Job> reply);
  // Removes a terminal job and its logs. Errors of JobStore::DeleteJob.
  void Delete(std::string tenant, std::string uid, std::string etag, Reply<Done> reply);
  // Stores the resource as VALIDATING and validates it. Errors of JobStore::PutModel; DRAINING.
  void RegisterModel(std::string tenant, v1::Model model,
                     std::function<bool(const v1::Model&)> same, Reply<v1::Model> reply);
  void RegisterDataset(std::string tenant, v1::Dataset dataset,
                       std::function<bool(const v1::Dataset&)> same, Reply<v1::Dataset> reply);

  // Fills what is not stored: queue (position, blocking reason), progress, log_bytes.
  void Decorate(v1::Job& job) const;
  SchedulerStatus status() const;

  // Takes a free slot out of the scheduler's hands, for interactive work that needs the host and
  // device memory of `needs`; nullopt when none is free, too little memory is left, or nothing new
  // starts. `wanted`, which must not block and must not call the scheduler, is called with the slot
  // whenever a queued job could use it or its memory, or the server drains: give it back soon.
  std::optional<int> TryHoldSlot(const v1::Resources& needs, std::function<void(int slot)> wanted);
  // `over` says how the work ended: a device at which a worker was killed is probed first.
  void ReleaseSlot(int slot, const AttemptOver& over);

  // Drain, first step: no submit, no registration, no new attempt.
  void StopAdmission();
  // DrainServer with REQUEUE: StopAdmission, and running attempts are asked to checkpoint and stop
  // within `grace`. Does not block.
  void Requeue(absl::Duration grace);
  // Undoes StopAdmission and Requeue.
  void ResumeAdmission();
  // Drain, second step: asks workers to checkpoint and stop, kills them after `grace`. Their jobs
  // are QUEUED again, uncharged. Returns when no worker is left; blocks.
  void Drain(absl::Duration grace);

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace adamant
