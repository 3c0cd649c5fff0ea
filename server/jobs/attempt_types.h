// SPDX-License-Identifier: Apache-2.0
// What attempts, validations and the scheduler share.
#pragma once

#include "absl/time/time.h"
#include "server/blobs/blob_store.h"
#include "server/jobs/clock.h"
#include "server/jobs/events.h"
#include "server/jobs/inputs.h"
#include "server/jobs/run_observer.h"
#include "server/jobs/scheduler.h"
#include "server/store/job_store.h"
#include "server/workers/worker_pool.h"

namespace adamant {

// What validations work with; borrowed.
struct JobServices {
  JobStore& store;
  BlobStore& blobs;
  WorkerPool& pool;
  EventHub& hub;
  SchedulerOptions options;
};

// What attempts work with; borrowed.
struct AttemptServices {
  JobStore& store;
  BlobStore& blobs;
  EventHub& hub;
  const SchedulerOptions& options;
  const Clock& clock;
  RunObserver& observer;
};

// From the mildest to the most final.
enum class StopReason {
  kNone,
  kPause,    // asked by PauseJob: write a checkpoint
  kCancel,   // asked by CancelJob
  kTimeout,  // max_run_time is over
  kDrain,    // the server goes down: write a checkpoint
  kFence,    // the lease is lost: kill at once and write nothing
  kAbandon,  // the same; the next start of the server recovers the job
};

v1::AttemptOutcome OutcomeOfStop(StopReason reason);
const char* MessageOfStop(StopReason reason);

// How an attempt left its slot.
struct AttemptOver {
  v1::AttemptOutcome outcome = v1::ATTEMPT_OUTCOME_UNSPECIFIED;
  bool killed = false;                         // by us, while it worked
  absl::Time retry_at = absl::InfinitePast();  // steady; when the claim or the commit failed
};

}  // namespace adamant
