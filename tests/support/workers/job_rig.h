// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/blobs/local_blob_store.h"
#include "server/jobs/events.h"
#include "server/jobs/job.h"
#include "server/jobs/scheduler.h"
#include "server/store/await.h"
#include "server/store/sqlite_store.h"
#include "server/workers/worker_pool.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/workers/fake_worker.h"

namespace adamant::testing {

// Everything of the server behind the API, with the fake worker, over a temporary folder.
class JobRig : public StoreObserver {
 public:
  explicit JobRig(LocalBlobOptions blob_options = {});
  ~JobRig() override { StopScheduler(); }

  WorkerPoolOptions pool_options;
  SchedulerOptions options;

  // Opens the store and starts the scheduler; StopScheduler kills the workers and closes the store.
  void StartScheduler();
  void StopScheduler();
  void OpenStore();

  // A training job that tells the fake worker what to do. Returns `jobs/{uid}`.
  std::string Submit(FakeTask task, v1::SubmitOptions options = {},
                     const std::string& register_as = "");
  v1::BlobRef PutBlob(const std::string& bytes);
  v1::Model Register(const std::string& id, const std::string& wish);

  v1::Job Get(const std::string& name);
  v1::Job Cancel(const std::string& name);
  v1::Job Pause(const std::string& name);
  v1::Job Resume(const std::string& name);
  v1::QueueInfo Queue(const std::string& name);  // as GetJob shows it
  std::vector<v1::JobEvent> Events(const std::string& name);
  // "QUEUED STARTING RUNNING SUCCEEDED"
  std::string States(const std::string& name);

  // Blocks until a committed version of the job satisfies the condition; returns it.
  v1::Job Await(const std::string& name, std::function<bool(const v1::Job&)> condition);
  v1::Job AwaitState(const std::string& name, v1::JobState state);
  v1::Job AwaitEnd(const std::string& name);
  v1::Model AwaitModel(const std::string& name, std::function<bool(const v1::Model&)> condition);

  WorkerPool& workers() { return *pool_; }
  Scheduler& scheduler() { return *scheduler_; }
  JobStore& store() { return *store_; }
  BlobStore& blobs() { return *blobs_; }
  EventHub& hub() { return *hub_; }

  void OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& events) override;
  void OnModel(const std::string& tenant, const v1::Model& model) override;

 private:
  TemporaryFolder folder_;
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<EventHub> hub_;
  std::unique_ptr<Scheduler> scheduler_;
  absl::Mutex mutex_;
  std::map<std::string, v1::Job> jobs_ ABSL_GUARDED_BY(mutex_);  // as last committed
  std::map<std::string, v1::Model> models_ ABSL_GUARDED_BY(mutex_);
};

// The fake worker behind the real launcher.
WorkerCommand FakeWorkerCommand();

}  // namespace adamant::testing
