// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/attempt_thread.h"

#include <sys/wait.h>

#include <utility>

#include "absl/time/clock.h"
#include "common/failpoint.h"

namespace adamant {
namespace {

class ProcessLink final : public WorkerLink {
 public:
  explicit ProcessLink(WorkerProcess& process) : process_(process) {}
  void Send(worker::v1::Frame frame, const std::vector<int>& descriptors) override {
    process_.Send(std::move(frame), descriptors).IgnoreError();
  }
  void Acknowledge(int64_t frame_number) override { process_.Acknowledge(frame_number); }
  void Signal(int signum) override { process_.Signal(signum); }
  void Wake() override { process_.Wake(); }

 private:
  WorkerProcess& process_;
};

absl::string_view CauseOf(const Attempt& attempt, int wait_status) {
  switch (attempt.end().outcome) {
    case v1::ATTEMPT_OUT_OF_MEMORY:
      return "oom";
    case v1::ATTEMPT_DEVICE_FAULT:
      return "device";
    case v1::ATTEMPT_WORKER_LOST:
      if (attempt.over().killed) return "lost";
      return WIFSIGNALED(wait_status) ? "signal" : "error";
    default:
      return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0 ? "ok" : "error";
  }
}

// The pool waits on the wall clock.
absl::Time ToWall(absl::Time steady, const Clock& clock) {
  return absl::Now() + (steady - clock.Steady());
}

void Supervise(Attempt& attempt, WorkerProcess& process, const Clock& clock) {
  ProcessLink link(process);
  process.SetOutput([&attempt](absl::string_view bytes) { attempt.OnOutput(bytes); });
  attempt.OnWorker(link);
  process.LimitResident(attempt.resident_limit_bytes());
  while (attempt.supervising()) {
    WorkerNews news = process.Next(ToWall(attempt.NextDeadline(), clock));
    attempt.OnNews(news, process.wait_status());
  }
}

}  // namespace

void RunAttempt(Attempt& attempt, WorkerPool& pool, RunObserver& observer, const Clock& clock,
                const std::string& job_name) {
  if (attempt.Begin()) {
    ADAMANT_FAILPOINT("spawn.before");
    absl::StatusOr<ReadyWorker> worker = pool.Take();
    ADAMANT_FAILPOINT("spawn.after");
    if (worker.ok()) {
      const absl::Time started = clock.Steady();
      observer.OnWorkerStarted(job_name, attempt.record().number(), worker->process->pid());
      Supervise(attempt, *worker->process, clock);
      const int wait_status = worker->process->Finish();
      observer.OnWorkerExited({job_name, attempt.record().number(), CauseOf(attempt, wait_status),
                               clock.Steady() - started, attempt.end().peak_host_bytes,
                               attempt.end().peak_device_bytes});
    } else {
      attempt.OnNoWorker(worker.status());
    }
  }
  attempt.End();
}

}  // namespace adamant
