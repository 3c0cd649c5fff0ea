// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "server/jobs/attempt.h"
#include "server/jobs/scheduler_core.h"
#include "tests/simulation/sim_blobs.h"
#include "tests/simulation/sim_store.h"
#include "tests/simulation/sim_worker.h"
#include "tests/support/workers/virtual_clock.h"

namespace adamant::testing {

// A server, its workers and its clients on one thread under a virtual clock, all of it chosen by a
// seed: the real scheduler core and the real attempts, over a store in memory. After each event the
// promises of service.md are checked. The same seed gives the same history.
class World : private JobRunner, private StoreObserver {
 public:
  struct Options {
    int jobs = 12;
    double faults = 0.4;  // share of the attempts that go wrong
    // A bug to plant, by name; the checks must find it. Empty = none.
    std::string bug;
  };

  World(uint64_t seed, Options options);
  ~World() override;

  // A job whose every worker behaves as planned. Returns its uid.
  std::string SubmitWith(WorkerPlan plan);

  // Plays the troubled hours, then a quiet time in which everything has to end.
  void Run();

  // The first broken promise, or "".
  const std::string& problem() const { return problem_; }
  // Of everything that was committed, in order.
  uint64_t trace() const { return trace_; }
  int64_t events() const { return events_; }
  const SimStore& store() const { return store_; }

 private:
  struct Running {
    std::unique_ptr<Attempt> attempt;
    std::unique_ptr<SimWorker> worker;
    int slot = -1;
    int64_t generation = 0;  // of the deadline that is scheduled
    bool ending = false;
  };
  // Dies with the process: a restart makes a new one.
  struct Server {
    std::unique_ptr<EventHub> hub;
    std::unique_ptr<SchedulerCore> core;
    std::map<std::string, std::shared_ptr<Running>> attempts;
    absl::Time step_at = absl::InfiniteFuture();
  };

  // Random choices.
  double Draw() { return std::uniform_real_distribution<double>(0, 1)(random_); }
  int Pick(int count) { return static_cast<int>(random_() % static_cast<uint64_t>(count)); }
  absl::Duration Delay(absl::Duration most) { return most * Draw(); }

  // Events of the server are forgotten when it restarts.
  void At(absl::Duration delay, std::function<void()> event);
  void AtServer(absl::Duration delay, std::function<void()> event);
  void Play(absl::Time until);
  void AskForStep(absl::Time at);

  void StartServer();
  void RestartServer();
  void Begin(const std::shared_ptr<Running>& running, const std::string& uid);
  void GiveWorker(const std::shared_ptr<Running>& running, const std::string& uid);
  void Deliver(const std::shared_ptr<Running>& running, const std::string& uid,
               WorkerNews::Kind kind, worker::v1::Frame frame, std::optional<int> wait_status);
  void WatchDeadline(const std::shared_ptr<Running>& running, const std::string& uid);
  void End(const std::shared_ptr<Running>& running, const std::string& uid);
  WorkerPlan PlanWorker(const std::string& uid);

  // Clients and operators.
  void SubmitJob();
  std::string Store(v1::JobSpec spec, v1::SubmitOptions options, const std::string& tenant);
  void ResumeAll();
  void SomethingHappens();
  void ChangeSomeJob(absl::Status (*verb)(JobDraft&, absl::Time));

  // JobRunner.
  void StartAttempt(const std::string& uid, int slot) override;
  void StopAttempt(const std::string& uid, StopReason reason, absl::Duration grace) override;
  void RenewLease(const std::string& uid, int64_t fence) override;
  void TakeOver(const std::string& uid, int64_t fence) override;
  void FailQueued(const std::string& uid, v1::StateReason reason,
                  const std::string& message) override;
  void Probe(int slot) override;

  void OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) override;

  // Checks.
  void Expect(bool kept, const std::string& promise);
  void CheckCommit(const std::string& uid, const v1::Job& job,
                   const std::vector<v1::JobEvent>& events);
  void CheckServer();
  void CheckEnd();

  const Options options_;
  std::mt19937_64 random_;
  VirtualClock clock_;
  SchedulerOptions scheduler_options_;
  std::vector<Slot> slots_;
  SimStore store_;
  SimBlobs blobs_;
  RunObserver observer_;
  std::unique_ptr<Server> server_;
  std::vector<std::shared_ptr<Running>> graveyard_;  // of servers that died: events may name them
  int incarnation_ = 0;
  std::multimap<absl::Time, std::function<void()>> queue_;
  bool trouble_ = true;
  int submitted_ = 0;
  std::map<std::string, WorkerPlan> plans_;            // of SubmitWith
  std::map<std::string, v1::Job> last_;                // as last committed
  std::set<std::string> cancels_;                      // jobs somebody wanted cancelled
  std::set<std::pair<std::string, int64_t>> reports_;  // (uid, fence) whose worker reported
  std::string problem_;
  uint64_t trace_ = 14695981039346656037U;
  int64_t events_ = 0;
};

}  // namespace adamant::testing
