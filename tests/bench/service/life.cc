// SPDX-License-Identifier: Apache-2.0
// Beginnings and ends: start_warm, cancel, worker_death, worker_hang, server_restart, drain.
#include <signal.h>

#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tests/bench/service/bench.h"

namespace adamant::bench {
namespace {

using Worker = BenchServer::Worker;

// Waits until an idle worker stands ready.
void AwaitSpare(const BenchServer& server) {
  for (int i = 0; i < 600 && Children(server.pid()).empty(); ++i)
    absl::SleepFor(absl::Milliseconds(50));
  absl::SleepFor(absl::Seconds(3));  // until LibTorch is loaded and its first step done
}

// The worker of the job that runs: the child with the most CPU time.
pid_t BusyWorker(const BenchServer& server) {
  pid_t busiest = -1;
  double most = -1;
  for (const pid_t child : Children(server.pid())) {
    const double cpu = CpuSeconds(child);
    if (cpu > most) {
      most = cpu;
      busiest = child;
    }
  }
  if (busiest < 0) Die("no worker runs");
  return busiest;
}

BenchResult RunStartWarm(const BenchOptions& options) {
  const int64_t jobs = options.n > 0 ? options.n : 20;
  BenchServer server(Worker::kReal);
  Stubs stubs(server.address());
  std::vector<double> seconds;
  for (int64_t i = 0; i < jobs; ++i) {
    AwaitSpare(server);
    const double start = Now();
    const std::string name = Submit(stubs, RealTraining(1)).name();
    const double running = WatchUntil(stubs, name, State(v1::RUNNING));
    seconds.push_back(running - start);
    WaitEnd(stubs, name);
  }
  BenchResult result = Milliseconds(std::move(seconds));
  result.value = result.p50;
  result.note =
      "from the submit to the watcher's news of the first progress: two commits and the opening "
      "of the data lie in between";
  return result;
}

BenchResult RunCancel(const BenchOptions& options) {
  const int64_t cancels = options.n > 0 ? options.n : 200;
  BenchServer server(Worker::kReal);
  Stubs stubs(server.address());
  std::mt19937_64 random(options.seed);
  std::vector<double> seconds;
  for (int64_t i = 0; i < cancels; ++i) {
    const std::string name = Submit(stubs, RealTraining(100000)).name();
    WatchUntil(stubs, name, State(v1::RUNNING));
    absl::SleepFor(absl::Milliseconds(static_cast<int64_t>(random() % 1000)));
    v1::JobVerbRequest request;
    request.set_name(name);
    v1::Job job;
    grpc::ClientContext context;
    const double start = Now();
    if (!stubs.jobs->CancelJob(&context, request, &job).ok()) Die("CancelJob failed");
    if (WaitEnd(stubs, name).state() != v1::CANCELLED) Die("the job was not cancelled");
    seconds.push_back(Now() - start);
  }
  BenchResult result = Milliseconds(std::move(seconds));
  result.note = "from the cancel to CANCELLED, which is committed when the worker is gone";
  return result;
}

// From a signal to the busy worker until its job is queued again.
BenchResult RunWorkerSignal(const BenchOptions& options, int signum, int64_t times) {
  if (options.n > 0) times = options.n;
  BenchServer server(Worker::kReal);
  Stubs stubs(server.address());
  std::vector<double> seconds;
  for (int64_t i = 0; i < times; ++i) {
    const std::string name = Submit(stubs, RealTraining(100000)).name();
    WatchUntil(stubs, name, State(v1::RUNNING));
    absl::SleepFor(absl::Seconds(2));
    const double start = Now();
    kill(BusyWorker(server), signum);
    int queued = 0;
    const double end = WatchUntil(stubs, name, [&](const v1::JobEvent& event) {
      if (event.state().to() == v1::QUEUED) ++queued;
      return event.snapshot().state() == v1::QUEUED || queued > 0 ||
             event.state().to() == v1::FAILED;
    });
    seconds.push_back(end - start);
    v1::JobVerbRequest request;
    request.set_name(name);
    v1::Job job;
    grpc::ClientContext context;
    stubs.jobs->CancelJob(&context, request, &job);
    WaitEnd(stubs, name);
  }
  return Milliseconds(std::move(seconds));
}

BenchResult RunWorkerDeath(const BenchOptions& options) {
  return RunWorkerSignal(options, SIGKILL, 20);
}
BenchResult RunWorkerHang(const BenchOptions& options) {
  return RunWorkerSignal(options, SIGSTOP, 5);
}

BenchResult RunServerRestart(const BenchOptions& options) {
  const int64_t kills = options.n > 0 ? options.n : 20;
  constexpr int kJobs = 10000;
  BenchServer server;
  {
    std::vector<std::thread> clients;
    for (int client = 0; client < 8; ++client) {
      clients.emplace_back([&] {
        Stubs stubs(server.address());
        v1::TrainJobRequest request = FakeTraining(testing::kSucceed);
        request.mutable_options()->set_start_paused(true);
        for (int i = 0; i < kJobs / 8; ++i) Submit(stubs, request);
      });
    }
    for (std::thread& client : clients) client.join();
  }
  std::vector<double> seconds;
  for (int64_t i = 0; i < kills; ++i) {
    server.process().Kill();
    const double start = Now();
    server.Start();
    Stubs stubs(server.address());
    v1::GetServerStatusRequest request;
    v1::ServerStatus status;
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    if (!stubs.system->GetServerStatus(&context, request, &status).ok()) Die("it does not serve");
    seconds.push_back(Now() - start);
    if (status.stored_jobs() != 0 && status.stored_jobs() < kJobs)
      Die(absl::StrCat("only ", status.stored_jobs(), " jobs are left"));
  }
  BenchResult result = Milliseconds(std::move(seconds));
  result.note = "from the start of the process to an answered call, 10000 jobs stored and alive";
  return result;
}

BenchResult RunDrain(const BenchOptions& options) {
  const int64_t times = options.n > 0 ? options.n : 3;
  std::vector<double> fake;
  std::vector<double> real;
  for (int64_t i = 0; i < times; ++i) {
    {
      BenchServer server(Worker::kFake, {"--drain-delay", "0"});
      Stubs stubs(server.address());
      WatchUntil(stubs, Submit(stubs, FakeTraining(testing::kWaitForStop)).name(),
                 State(v1::RUNNING));
      const double start = Now();
      if (server.process().Terminate() != 0) Die("the drain failed");
      fake.push_back(Now() - start);
    }
    BenchServer server(Worker::kReal);
    Stubs stubs(server.address());
    WatchUntil(stubs, Submit(stubs, RealTraining(100000)).name(), State(v1::RUNNING));
    const double start = Now();
    if (server.process().Terminate() != 0) Die("the drain failed");
    real.push_back(Now() - start);
  }
  BenchResult result;
  result.n = times;
  result.p50 = Percentile(real, 0.5);
  result.p99 = Percentile(real, 0.99);
  result.value = result.p99;
  result.unit = "s";
  result.note = absl::StrFormat(
      "a training with the default delay of 5 s; the fake worker with delay 0: at most %.2f s",
      Percentile(fake, 1));
  return result;
}

}  // namespace

std::vector<BenchRow> LifeRows() {
  return {{"start_warm", "p50 <= 50 ms to the worker's first instruction", RunStartWarm},
          {"cancel", "p99 <= 2000 ms", RunCancel},
          {"worker_death", "<= 2000 ms", RunWorkerDeath},
          {"worker_hang", "<= 8000 ms", RunWorkerHang},
          {"server_restart", "p99 <= 1000 ms", RunServerRestart},
          {"drain", "<= 25 s; <= 5 s with delay 0 and the fake worker", RunDrain}};
}

}  // namespace adamant::bench
