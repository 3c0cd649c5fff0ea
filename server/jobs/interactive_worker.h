// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adamant/v1/explain.pb.h"
#include "server/jobs/attempt_types.h"
#include "server/jobs/inputs.h"
#include "server/jobs/interactive_call.h"
#include "server/workers/worker_pool.h"

namespace adamant {

// What a worker may use; 0 = no limit.
struct WorkerLimits {
  int64_t resident_bytes = 0;
  double device_fraction = 0;
};

// A worker process that holds one model and answers one request after the other. Nothing that it
// sends is trusted. Owned by one thread at a time; the destructor kills it.
class InteractiveWorker {
 public:
  static constexpr int64_t kMaxResponseBytes = int64_t{3} << 20;

  // Blocks until the worker said Hello; it loads the model while it waits for the first request.
  static absl::StatusOr<std::unique_ptr<InteractiveWorker>> Start(WorkerPool& pool,
                                                                  const Slot& slot,
                                                                  StartPackage package,
                                                                  const WorkerLimits& limits = {});

  // Blocks for the answer. What the worker says of the request (INVALID_ARGUMENT,
  // FAILED_PRECONDITION, RESOURCE_EXHAUSTED, ...), the reason for which `call` was stopped,
  // DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED / MEMORY_FULL, or UNAVAILABLE / WORKER_LOST. A worker
  // that does not give up within `grace` of Cancel is not usable any more.
  absl::StatusOr<v1::ExplainResponse> Ask(const v1::ExplainRequest& request, InteractiveCall& call,
                                          absl::Time deadline, absl::Duration grace);

  bool usable() const { return usable_; }
  // How it leaves its slot, as far as that is known.
  const AttemptOver& over() const { return over_; }

 private:
  explicit InteractiveWorker(std::unique_ptr<WorkerProcess> process)
      : process_(std::move(process)) {}

  absl::Status Send(const v1::ExplainRequest& request);
  absl::StatusOr<v1::ExplainResponse> Await(InteractiveCall& call, absl::Time deadline,
                                            absl::Duration grace, int images);
  absl::StatusOr<v1::ExplainResponse> Read(const ReceivedFrame& received, int images);
  absl::Status Lost(const WorkerNews& news);

  const std::unique_ptr<WorkerProcess> process_;
  int64_t calls_ = 0;
  bool usable_ = true;
  AttemptOver over_;
};

}  // namespace adamant
