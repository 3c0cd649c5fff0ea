// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "adamant/worker/v1/worker.pb.h"
#include "server/jobs/attempt_types.h"
#include "server/jobs/inputs.h"

namespace adamant {

// Has a worker parse a registered model or dataset and moves its state to READY or REJECTED. Needs
// no slot; limited in time and memory. Run blocks; Stop, from any thread, makes it end soon without
// a verdict.
class Validation {
 public:
  // `name` is `models/{id}` or `datasets/{id}`.
  Validation(const JobServices& services, std::string tenant, std::string name)
      : services_(services), tenant_(std::move(tenant)), name_(std::move(name)) {}

  void Run();
  void Stop();

  const std::string& tenant() const { return tenant_; }
  const std::string& name() const { return name_; }

 private:
  void RunModel();
  void RunDataset();
  // What the worker found. INVALID_ARGUMENT: the resource is bad, and why. CANCELLED: stopped.
  absl::StatusOr<worker::v1::Result> AskWorker(absl::StatusOr<StartPackage> package);
  absl::StatusOr<ReadyWorker> TakeWorker();
  absl::StatusOr<worker::v1::Result> AwaitResult(WorkerProcess& process);

  const JobServices& services_;
  const std::string tenant_;
  const std::string name_;
  absl::Mutex mutex_;
  WorkerProcess* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::atomic<bool> stopped_{false};
};

}  // namespace adamant
