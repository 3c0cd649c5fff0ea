// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "adamant/v1/job.pb.h"
#include "adamant/v1/model.pb.h"

namespace adamant {

// What the scheduler knows about one job that is not terminal.
struct LiveJob {
  std::string tenant;
  v1::JobState state = v1::QUEUED;
  int priority = 0;
  absl::Time queue_time;
  absl::Time queue_deadline = absl::InfiniteFuture();  // queue_timeout
  std::vector<std::string> references;                 // `models/{id}`, `datasets/{id}`
  std::string training_job;                            // uid of a training it waits for, or empty
  absl::Time not_before = absl::InfinitePast();        // backoff
  bool held = false;  // an attempt or a decision about it is under way
};

LiveJob MakeLiveJob(const v1::Job& job);

// Whether the inputs of a job are there.
struct Readiness {
  enum Kind { kReady, kWaiting, kImpossible };
  Kind kind = kReady;
  v1::StateReason reason = v1::STATE_REASON_UNSPECIFIED;  // kImpossible
  std::string message;
};

// The jobs that are not terminal and the resources they may wait for. Decides the order; starts
// nothing. Not thread-safe.
class JobQueue {
 public:
  using Resource = std::pair<std::string, std::string>;  // tenant, name

  std::map<std::string, LiveJob>& jobs() { return jobs_; }  // by uid
  const std::map<std::string, LiveJob>& jobs() const { return jobs_; }

  // Takes over a committed state; a terminal job leaves.
  void Update(const std::string& uid, const v1::Job& job);
  void SetResource(const std::string& tenant, const std::string& name, v1::ResourceState state) {
    resources_[{tenant, name}] = state;
  }

  // QUEUED jobs without a hold, in the order they should start: priority, queue_time, uid.
  std::vector<std::string> Waiting() const;
  Readiness CheckInputs(const LiveJob& job) const;
  // The queue field of a QUEUED job.
  v1::QueueInfo Describe(const std::string& uid, bool draining, absl::Time now) const;

  int CountState(bool (*matches)(v1::JobState)) const;

 private:
  static bool Before(const std::string& uid, const LiveJob& job, const std::string& other_uid,
                     const LiveJob& other);

  std::map<std::string, LiveJob> jobs_;
  absl::flat_hash_map<Resource, v1::ResourceState> resources_;
};

}  // namespace adamant
