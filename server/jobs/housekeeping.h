// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/jobs/clock.h"
#include "server/jobs/scheduler.h"
#include "server/store/job_store.h"

namespace adamant {

// What has to be tidied up now and then: jobs past their retention, the logs of deleted jobs, the
// metrics of jobs that ended long ago. RemoveLogOf may be called by any thread, the rest by one.
class Housekeeping {
 public:
  Housekeeping(JobStore& store, const SchedulerOptions& options, const Clock& clock)
      : store_(store), options_(options), clock_(clock), next_(clock.Steady()) {}

  // Done by the next Run.
  void RemoveLogOf(std::string uid);
  // When to call Run (steady).
  absl::Time due() const;
  // Removes logs, and once per `housekeeping_every` asks the store to tidy up. Blocks on the disk.
  void Run();

 private:
  JobStore& store_;
  const SchedulerOptions& options_;
  const Clock& clock_;
  absl::Time next_;
  mutable absl::Mutex mutex_;
  std::vector<std::string> gone_ ABSL_GUARDED_BY(mutex_);  // deleted jobs, by uid
};

}  // namespace adamant
