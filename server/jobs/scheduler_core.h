// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adamant/v1/job.pb.h"
#include "server/jobs/attempt_types.h"
#include "server/jobs/fair_share.h"
#include "server/jobs/queue.h"
#include "server/jobs/slots.h"
#include "server/jobs/start_forecast.h"

namespace adamant {

// Does what the core decided. Called inside the core's functions: it must neither block nor call
// back before they returned.
class JobRunner {
 public:
  virtual ~JobRunner() = default;
  // Answered by OnAttemptOver.
  virtual void StartAttempt(const std::string& uid, int slot) = 0;
  virtual void StopAttempt(const std::string& uid, StopReason reason, absl::Duration grace) = 0;
  // JobStore::RenewLease, answered by OnLease.
  virtual void RenewLease(const std::string& uid, int64_t fence) = 0;
  // TakeOverJob, as a write of the scheduler.
  virtual void TakeOver(const std::string& uid, int64_t fence) = 0;
  // Fails a QUEUED job. What it does not change is decided anew after OnDecided.
  virtual void FailQueued(const std::string& uid, v1::StateReason reason,
                          const std::string& message) = 0;
  // Answered by OnProbe.
  virtual void Probe(int slot) = 0;
};

// Every decision about queued and running jobs, driven by (event, now): no thread, no process, no
// waiting. After each event Step carries out what is due. Not thread-safe.
class SchedulerCore {
 public:
  // All are borrowed and must outlive it.
  SchedulerCore(std::vector<Slot> slots, const SchedulerOptions& options, const Clock& clock,
                JobRunner& runner);

  // A committed state of a job, a model, a dataset. False: nothing to decide.
  bool OnJob(const std::string& uid, const v1::Job& job);
  void OnModel(const std::string& tenant, const v1::Model& model);
  void OnDataset(const std::string& tenant, const v1::Dataset& dataset);
  void OnAttemptOver(const std::string& uid, const AttemptOver& over);
  void OnLease(const std::string& uid, int64_t fence, const absl::StatusOr<v1::JobState>& state);
  void OnDecided(const std::string& uid);
  void OnProbe(int slot, const absl::Status& verdict);
  void SetAdmission(bool open);
  // See Scheduler::TryHoldSlot.
  std::optional<int> TryHoldSlot(const v1::Resources& needs, std::function<void(int)> wanted);
  void ReleaseSlot(int slot, const AttemptOver& over);
  void StopAll(StopReason reason, absl::Duration grace);

  // Carries out what is due; returns when to come again (steady) if nothing happens before.
  absl::Time Step();

  // Whether one more job of the tenant may be queued: DRAINING, QUEUE_FULL.
  absl::Status Admit(const std::string& tenant) const;
  // The queue field of a QUEUED job. Cheap: the order is made anew at most once per second.
  v1::QueueInfo Describe(const std::string& uid);
  SchedulerStatus Status() const;
  bool open() const { return open_; }
  bool idle() const { return running_.empty() && !board_.probing(); }
  const JobQueue& queue() const { return queue_; }

 private:
  struct Running {
    int slot = -1;
    std::string tenant;
    v1::JobKind kind = v1::JOB_KIND_UNSPECIFIED;
    absl::Time since;   // it has the slot
    int64_t fence = 0;  // 0 until the claim is committed
    absl::Time charged_until;
    absl::Time asked_at;  // for the newest renewal
    absl::Time lease_end = absl::InfiniteFuture();
    absl::Time renew_at = absl::InfiniteFuture();
    bool asking = false;
    bool fenced = false;
  };
  struct Snapshot {
    absl::Time at = absl::InfinitePast();
    int version = -1;
    struct Rank {
      int position;
      bool behind_fair_share;
      absl::Time start = absl::InfiniteFuture();  // as far as it can be told
    };
    absl::flat_hash_map<std::string, Rank> ranks;
  };

  void FollowState(const std::string& uid, Running& running, const LiveJob& job);
  absl::Time TendLeases(absl::Time now);
  void TendTimers(absl::Time now);
  void FailHopeless();
  void FailIfHopeless(const std::string& uid, LiveJob& job);
  void Fail(const std::string& uid, LiveJob& job, v1::StateReason reason,
            const std::string& message);
  void Place(absl::Time now);
  void RecallSlots() const;
  void Start(const std::string& uid, LiveJob& job, int slot, absl::Time now);
  void ChargeSlots(absl::Time now);
  Snapshot::Rank RankOf(const std::string& uid);
  void RankQueue(absl::Time now);
  bool MayStart(const LiveJob& job, absl::Time now) const;
  bool Starved(const LiveJob& job, absl::Time now) const {
    return now - job.skipped_since >= options_.max_skip;
  }

  const SchedulerOptions& options_;
  const Clock& clock_;
  JobRunner& runner_;
  JobQueue queue_;
  FairShare share_;
  SlotBoard board_;
  StartForecast forecast_;
  std::map<std::string, Running> running_;               // attempts, by uid
  std::map<int, std::function<void(int)>> held_;         // slots lent out: what wants them back
  std::set<std::pair<absl::Time, std::string>> timers_;  // when to look at a job again
  std::vector<std::string> unchecked_;                   // jobs whose inputs were not looked at
  bool inputs_changed_ = false;                          // of any job
  bool open_ = true;
  int version_ = 0;  // grows with everything the order depends on
  Snapshot snapshot_;
};

}  // namespace adamant
