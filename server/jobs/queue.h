// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "adamant/v1/dataset.pb.h"
#include "adamant/v1/job.pb.h"
#include "adamant/v1/model.pb.h"
#include "server/jobs/clock.h"
#include "server/jobs/fair_share.h"

namespace adamant {

// What the scheduler knows about one job that is not terminal. Times are steady unless said.
struct LiveJob {
  std::string tenant;
  v1::JobKind kind = v1::JOB_KIND_UNSPECIFIED;
  v1::JobState state = v1::QUEUED;
  int priority = 0;
  absl::Time queue_time;                               // wall
  absl::Time queue_deadline = absl::InfiniteFuture();  // queue_timeout
  absl::Time not_before = absl::InfinitePast();        // backoff
  std::vector<std::string> references;                 // `models/{id}`, `datasets/{id}`
  std::string training_job;                            // uid of a training it waits for, or empty
  int64_t fence = 0;                                   // of the newest attempt
  std::string faulty_device;                           // where the newest attempt met a fault
  int64_t host_bytes = 0;                              // what it needs while it runs
  int64_t device_bytes = 0;
  absl::Time skipped_since = absl::InfiniteFuture();  // did not fit while a slot was free
  bool held = false;  // an attempt or a decision about it is under way
};

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
  using Estimate =
      std::function<v1::Resources(const v1::JobSpec&, const v1::Model*, const v1::Dataset*)>;

  explicit JobQueue(const Clock& clock, Estimate estimate = nullptr)
      : clock_(clock), estimate_(std::move(estimate)) {}

  std::map<std::string, LiveJob>& jobs() { return jobs_; }  // by uid
  const std::map<std::string, LiveJob>& jobs() const { return jobs_; }
  LiveJob* Find(const std::string& uid);

  // Takes over a committed state; a terminal job leaves. What the queue knows of it, or nullptr.
  LiveJob* Update(const std::string& uid, const v1::Job& job);
  void SetModel(const std::string& tenant, const v1::Model& model);
  void SetDataset(const std::string& tenant, const v1::Dataset& dataset);
  void SetResource(const std::string& tenant, const std::string& name, v1::ResourceState state) {
    resources_[{tenant, name}] = state;
  }

  struct Place {
    const std::string* uid;
    LiveJob* job;
    bool behind_fair_share;  // another tenant goes first although its job came later
  };
  // The QUEUED jobs as they should start (service.md 9.3): priority below 0 first; then the tenant
  // with the smallest usage; inside it priority, queue_time, uid.
  std::vector<Place> Order(const FairShare& share, absl::Time now);
  Readiness CheckInputs(const LiveJob& job) const;

  int queued() const { return queued_; }
  int queued(const std::string& tenant) const;
  int running() const { return running_; }  // with a worker

 private:
  void Count(const LiveJob& job, int by);
  LiveJob Make(const v1::Job& job) const;
  void Follow(LiveJob& live, const v1::Job& job) const;
  void SetNeeds(LiveJob& live, const v1::Job& job) const;

  const Clock& clock_;
  const Estimate estimate_;
  std::map<std::string, LiveJob> jobs_;
  absl::flat_hash_map<Resource, v1::ResourceState> resources_;
  absl::flat_hash_map<Resource, v1::Model> models_;
  absl::flat_hash_map<Resource, v1::Dataset> datasets_;
  absl::flat_hash_map<std::string, int> queued_of_;  // by tenant
  int queued_ = 0;
  int running_ = 0;
};

}  // namespace adamant
