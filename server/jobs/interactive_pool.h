// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "adamant/v1/explain.pb.h"
#include "server/blobs/blob_store.h"
#include "server/jobs/interactive_worker.h"
#include "server/jobs/scheduler.h"
#include "server/store/job_store.h"
#include "server/workers/worker_pool.h"

namespace adamant {

struct InteractiveOptions {
  absl::Duration slot_wait = absl::Seconds(1);
  absl::Duration idle_limit = absl::Seconds(60);
  absl::Duration cancel_grace = absl::Seconds(2);  // from Cancel to the end of the worker
  size_t max_waiting = 64;                         // calls without a thread yet
  // What a worker may use; unset = nothing is limited. As in SchedulerOptions.
  std::function<v1::Resources(const v1::JobSpec&, const v1::Model* model, const v1::Dataset* data)>
      estimate;
  std::map<std::string, int64_t> device_memory_bytes;
};

// Answers interactive explanations. A worker process is leased to one tenant and one model and
// holds a slot and the memory that an explain job with this model is taken to need, which it must
// not exceed; it stays warm while it is idle, until its time is over, a queued job or another model
// needs the slot or the memory, or the server drains. Nothing is stored. Thread-safe.
class InteractivePool {
 public:
  // All are borrowed and must outlive the pool.
  InteractivePool(JobStore& store, BlobStore& blobs, WorkerPool& workers, Scheduler& scheduler,
                  InteractiveOptions options = {});
  ~InteractivePool() { Close(); }
  InteractivePool(const InteractivePool&) = delete;
  InteractivePool& operator=(const InteractivePool&) = delete;

  // `request` is checked and complete. Does not block; `reply` is called once, on a thread of the
  // pool or the caller's. Errors of InteractiveWorker::Ask; RESOURCE_EXHAUSTED /
  // NO_INTERACTIVE_SLOT; FAILED_PRECONDITION when the model is not ready; UNAVAILABLE / DRAINING.
  std::shared_ptr<InteractiveCall> Explain(std::string tenant, v1::ExplainRequest request,
                                           absl::Time deadline, Reply<v1::ExplainResponse> reply);

  // Drain: ends what runs with DRAINING, kills the workers, gives the slots back. Blocks.
  void Close();

  int warm_workers() const;  // idle ones

 private:
  struct Task {
    std::shared_ptr<InteractiveCall> call;
    std::string tenant;
    v1::ExplainRequest request;
    absl::Time arrived;
    absl::Time deadline;
    Reply<v1::ExplainResponse> reply;
  };
  struct Lease {
    std::string key;      // tenant and model
    v1::Resources needs;  // what its slot promises and its worker must not exceed
    int slot = -1;
    std::unique_ptr<InteractiveWorker> worker;
    bool busy = true;
    absl::Time idle_since;
  };

  void Work();
  void Tend();
  absl::StatusOr<v1::ExplainResponse> Serve(const Task& task);
  absl::StatusOr<v1::Resources> NeedsOf(const Task& task);
  WorkerLimits LimitsOf(const v1::Resources& needs, const std::string& device) const;
  absl::StatusOr<v1::ExplainResponse> AskLease(Lease& lease, const Task& task,
                                               StartPackage package);
  // A lease for `key`: a warm one, or one without a worker on a slot of its own.
  absl::StatusOr<Lease*> Acquire(const std::string& key, const v1::Resources& needs,
                                 const Task& task);
  Lease* TakeIdle(const std::string& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The lease with the longest idle time, out of the list; nullptr when all are busy.
  std::unique_ptr<Lease> TakeOldestIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PutBack(Lease* lease);
  void Drop(std::unique_ptr<Lease> lease);
  bool Expired(const Lease& lease, absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnSlotWanted(int slot);

  JobStore& store_;
  BlobStore& blobs_;
  WorkerPool& workers_;
  Scheduler& scheduler_;
  const InteractiveOptions options_;

  mutable absl::Mutex mutex_;
  std::deque<Task> waiting_ ABSL_GUARDED_BY(mutex_);
  std::set<std::shared_ptr<InteractiveCall>> running_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Lease>> leases_ ABSL_GUARDED_BY(mutex_);
  std::set<int> wanted_ ABSL_GUARDED_BY(mutex_);  // held slots that the scheduler asks for
  bool changed_ ABSL_GUARDED_BY(mutex_) = false;  // something for Tend
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace adamant
