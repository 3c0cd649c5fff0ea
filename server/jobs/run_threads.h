// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/jobs/attempt.h"
#include "server/jobs/validation.h"

namespace adamant {

// The threads that work for the scheduler: one per attempt, per validation of an upload, per probe
// of a device. Thread-safe; JoinEnded is for one thread. All must have ended before it is
// destroyed.
class RunThreads {
 public:
  using Resource = std::pair<std::string, std::string>;  // tenant, name

  // `on_end` is called by any thread, without a lock, when Collect has something new.
  RunThreads(AttemptServices services, const JobServices& job_services,
             std::function<void()> on_end)
      : services_(services), job_services_(job_services), on_end_(std::move(on_end)) {}

  void StartAttempt(const std::string& uid, int slot);
  void StopAttempt(const std::string& uid, StopReason reason, absl::Duration grace);
  void StartProbe(int slot);
  // A resource that waits or is being validated already is left alone.
  void QueueValidation(const std::string& tenant, const std::string& name);
  void StartValidations();  // as many as may run at once
  void StopValidations();   // those that run; they end without a verdict

  struct Ended {
    std::vector<std::pair<std::string, AttemptOver>> attempts;  // by uid
    std::vector<std::pair<int, absl::Status>> probes;           // by slot
  };
  // Takes out what ended since the last call.
  Ended Collect();
  // Joins the threads of what Collect took out.
  void JoinEnded();
  bool idle() const;

 private:
  template <typename Work>
  struct Running {
    std::unique_ptr<Work> work;
    std::thread thread;
    bool done = false;
  };

  template <typename Key, typename Work, typename Run>
  void Launch(std::map<Key, Running<Work>>& all, const Key& key, std::unique_ptr<Work> work,
              Run run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  template <typename Key, typename Work, typename Use>
  void TakeDone(std::map<Key, Running<Work>>& all, Use use) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const AttemptServices services_;
  const JobServices& job_services_;
  const std::function<void()> on_end_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Running<Attempt>> attempts_ ABSL_GUARDED_BY(mutex_);
  std::map<int, Running<absl::Status>> probes_ ABSL_GUARDED_BY(mutex_);
  std::deque<Resource> to_validate_ ABSL_GUARDED_BY(mutex_);
  std::map<Resource, Running<Validation>> validations_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> ended_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace adamant
