// SPDX-License-Identifier: Apache-2.0
// What the rows of service.md 16 are measured with.
#pragma once

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "adamant/v1/blob.grpc.pb.h"
#include "adamant/v1/robustness_service.grpc.pb.h"
#include "adamant/v1/system.grpc.pb.h"
#include "tests/support/programs/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/workers/fake_training.h"

namespace adamant::bench {

struct BenchOptions {
  int64_t n = 0;  // 0 = the size of the row
  uint64_t seed = 1;
};

struct BenchResult {
  int64_t n = 0;     // repetitions
  double p50 = 0;    // in `unit`; 0 where only `value` makes sense
  double p99 = 0;    // in `unit`
  double value = 0;  // the figure that the target is about
  std::string unit;  // of all three
  std::string note;  // what else a reader must know
};

struct BenchRow {
  const char* name;
  const char* target;
  BenchResult (*run)(const BenchOptions&);
};

// The rows of one file each.
std::vector<BenchRow> CallRows();       // submit, get, unary_cpu, list
std::vector<BenchRow> WatchRows();      // event_latency_*, event_rate, watchers
std::vector<BenchRow> TransferRows();   // upload, upload_resume, upload_dedup
std::vector<BenchRow> LifeRows();       // start_warm, cancel, worker_*, server_restart, drain
std::vector<BenchRow> OverheadRows();   // overhead
std::vector<BenchRow> FootprintRows();  // metrics, idle_rss, shared_library_count

// Restricts the calling thread, and what it starts from now on, to one core. The server runs on the
// first core and the client on the second.
void RunOnCore(int core);
void RunOnAnyCore();

double Now();  // seconds of CLOCK_MONOTONIC

// Sorts `values`; the smallest one that at least `ratio` of them do not exceed.
double Percentile(std::vector<double>& values, double ratio);
// p50 and p99 of `values` (seconds) in milliseconds, value = p99.
BenchResult Milliseconds(std::vector<double> values);

double CpuSeconds(pid_t pid);  // user and system time of a process
int64_t ResidentBytes(pid_t pid);
std::vector<pid_t> Children(pid_t pid);

struct Stubs {
  explicit Stubs(const std::string& address);
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::RobustnessService::Stub> jobs;
  std::unique_ptr<v1::BlobService::Stub> blobs;
  std::unique_ptr<v1::SystemService::Stub> system;
};

// An adamantd, on the first core where not told otherwise, without limits on rates. One at a time;
// however the bench ends, it ends with it.
class BenchServer {
 public:
  enum class Worker { kFake, kReal };
  // kAny: where the training must have a core of its own beside server and client.
  enum class Cores { kFirst, kAny };
  explicit BenchServer(Worker worker = Worker::kFake, std::vector<std::string> arguments = {},
                       Cores cores = Cores::kFirst);
  ~BenchServer();

  const std::string& address() const { return process_->address(); }
  const std::string& metrics_address() const { return process_->metrics_address(); }
  const std::string& data_dir() const { return data_dir_; }
  pid_t pid() const { return process_->pid(); }
  testing::ServerProcess& process() { return *process_; }

  // Starts the server again on the same data folder.
  void Start();

 private:
  testing::TemporaryFolder folder_;
  std::string data_dir_;
  std::vector<std::string> arguments_;
  const Cores cores_;
  std::unique_ptr<testing::ServerProcess> process_;
};

using testing::FakeTraining;
// A PGD training on `shapes` of `steps` steps, for the real worker.
v1::TrainJobRequest RealTraining(int steps);
// Both exit when the call fails.
v1::Job Submit(Stubs& stubs, const v1::TrainJobRequest& request);
v1::Job WaitEnd(Stubs& stubs, const std::string& name);
// Watches until `wanted` says so; returns the time of that.
double WatchUntil(Stubs& stubs, const std::string& name,
                  const std::function<bool(const v1::JobEvent&)>& wanted);
inline std::function<bool(const v1::JobEvent&)> State(v1::JobState state) {
  return [state](const v1::JobEvent& event) {
    return event.state().to() == state || event.snapshot().state() == state;
  };
}

// Ends the server too.
[[noreturn]] void Die(const std::string& why);
// An interrupted bench ends its server too.
void CatchSignals();

}  // namespace adamant::bench
