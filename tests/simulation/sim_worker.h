// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/jobs/worker_link.h"
#include "server/workers/worker_process.h"

namespace adamant::testing {

// How a simulated worker behaves.
enum class Behaviour {
  kWork,        // steps, then a report
  kCrash,       // dies by a signal at some step
  kHang,        // stops its heartbeats
  kNoSteps,     // heartbeats for ever without a step
  kMemory,      // exit code 71
  kDevice,      // exit code 72
  kUserError,   // says so
  kLoseResult,  // the last frame never arrives
  kStubborn,    // works as kWork, ignores Cancel, Drain and SIGTERM
  kSlowToStop,  // answers Cancel and Drain after 40 s
  kGarbage,     // breaks the protocol
};
inline constexpr int kBehaviours = 11;

// What a worker is given.
struct WorkerPlan {
  Behaviour behaviour = Behaviour::kWork;
  int steps = 5;
  absl::Duration step_time = absl::Seconds(1);
  int turning_point = 0;  // the step at which a bad behaviour shows
  double frame_loss = 0;  // share of its volatile frames that never arrive
};

// A worker as its attempt sees it. Plans what it does as events of the simulation.
class SimWorker : public WorkerLink {
 public:
  using At = std::function<void(absl::Duration delay, std::function<void()> event)>;
  using Tell = std::function<void(WorkerNews::Kind, worker::v1::Frame, std::optional<int> status)>;

  // `tell` delivers news to the attempt; `at` schedules. Nothing is told after `alive` turned
  // false.
  SimWorker(WorkerPlan plan, uint64_t seed, At at, Tell tell)
      : plan_(plan), random_(seed), at_(std::move(at)), tell_(std::move(tell)) {}

  void Send(worker::v1::Frame frame, const std::vector<int>& descriptors) override;
  void Acknowledge(int64_t /*frame_number*/) override {}
  void Signal(int signum) override;
  void Wake() override;

  bool sent_report() const { return sent_report_; }

 private:
  void Later(absl::Duration delay, std::function<void()> event);
  void Beat();
  void Step();
  void Stop();
  void Say(worker::v1::Frame frame, bool volatile_frame);
  void Exit(int wait_status);
  void Report();
  void Result(std::function<void(worker::v1::Result&)> fill);

  const WorkerPlan plan_;
  std::mt19937_64 random_;
  const At at_;
  const Tell tell_;
  bool alive_ = true;
  bool beating_ = true;
  bool stopping_ = false;
  bool sent_report_ = false;
  int64_t beats_ = 0;
  int done_ = 0;  // steps
  int64_t outputs_ = 0;
};

}  // namespace adamant::testing
