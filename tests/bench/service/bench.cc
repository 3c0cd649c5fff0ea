// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/service/bench.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace adamant::bench {

namespace {

std::atomic<pid_t> live_server{-1};
std::string live_folder;  // of the server

// Safe in a signal handler.
void KillServer() {
  const pid_t pid = live_server.exchange(-1);
  if (pid > 0) kill(pid, SIGKILL);
}

void OnSignal(int number) {
  KillServer();
  _exit(128 + number);
}

}  // namespace

void CatchSignals() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) std::signal(number, OnSignal);
}

// Without destructors: other threads may be within calls.
void Die(const std::string& why) {
  std::fprintf(stderr, "service_bench: %s\n", why.c_str());
  KillServer();
  std::error_code error;
  if (!live_folder.empty()) std::filesystem::remove_all(live_folder, error);
  std::_Exit(1);
}

void RunOnCore(int core) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(core % std::max(1, cores)), &set);
  sched_setaffinity(0, sizeof(set), &set);
}

void RunOnAnyCore() {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (size_t i = 0; i < CPU_SETSIZE; ++i) CPU_SET(i, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

double Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double Percentile(std::vector<double>& values, double ratio) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<size_t>(std::ceil(ratio * static_cast<double>(values.size())));
  return values[std::max<size_t>(rank, 1) - 1];
}

BenchResult Milliseconds(std::vector<double> values) {
  BenchResult result;
  result.n = static_cast<int64_t>(values.size());
  result.p50 = 1000 * Percentile(values, 0.5);
  result.p99 = 1000 * Percentile(values, 0.99);
  result.value = result.p99;
  result.unit = "ms";
  return result;
}

double CpuSeconds(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::stringstream text;
  text << file.rdbuf();
  const std::string line = text.str();
  const std::vector<std::string> fields =
      absl::StrSplit(line.substr(line.rfind(')') + 2), ' ', absl::SkipEmpty());
  if (fields.size() < 13) Die(absl::StrCat("no process ", pid));
  return (std::stod(fields[11]) + std::stod(fields[12])) /
         static_cast<double>(sysconf(_SC_CLK_TCK));
}

int64_t ResidentBytes(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/statm"));
  int64_t total = 0;
  int64_t resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

std::vector<pid_t> Children(pid_t pid) {
  std::vector<pid_t> children;
  const auto tasks = absl::StrCat("/proc/", pid, "/task");
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::ifstream file(task.path() / "children");
    for (pid_t child; file >> child;) children.push_back(child);
  }
  return children;
}

Stubs::Stubs(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt("grpc.use_local_subchannel_pool", 1);  // a connection of its own
  channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  jobs = v1::RobustnessService::NewStub(channel);
  blobs = v1::BlobService::NewStub(channel);
  system = v1::SystemService::NewStub(channel);
}

BenchServer::BenchServer(Worker worker, std::vector<std::string> arguments, Cores cores)
    : data_dir_(folder_.path() + "/data"), arguments_(std::move(arguments)), cores_(cores) {
  for (const char* flag : {"--max-calls-per-second", "--max-submits-per-second"})
    arguments_.insert(arguments_.end(), {flag, "0"});
  if (worker == Worker::kFake) {
    arguments_.insert(arguments_.end(), {"--worker", ADAMANT_TEST_PROGRAMS "/fake_worker"});
  }
  Start();
}

BenchServer::~BenchServer() {
  live_server = -1;
  live_folder.clear();
}

void BenchServer::Start() {
  live_server = -1;
  live_folder = folder_.path();
  process_.reset();
  if (cores_ == Cores::kAny) {
    RunOnAnyCore();
  } else {
    RunOnCore(0);
  }
  process_ = std::make_unique<testing::ServerProcess>(data_dir_, arguments_);
  if (cores_ == Cores::kFirst) RunOnCore(1);
  if (!process_->ready()) Die("the server did not start");
  live_server = process_->pid();
}

v1::TrainJobRequest RealTraining(int steps) {
  v1::TrainJobRequest request = FakeTraining(testing::kSucceed);
  v1::TrainSpec& spec = *request.mutable_spec();
  spec.set_steps(steps);
  spec.set_batch_size(64);
  spec.mutable_objective()->set_name("pgd_at");
  spec.mutable_attack()->set_name("pgd");
  (*spec.mutable_attack()->mutable_params()->mutable_fields())["steps"].set_number_value(5);
  spec.mutable_threat()->set_norm(v1::LINF);
  spec.mutable_threat()->set_epsilon(0.06);
  return request;
}

v1::Job Submit(Stubs& stubs, const v1::TrainJobRequest& request) {
  v1::Job job;
  grpc::ClientContext context;
  const grpc::Status status = stubs.jobs->TrainJob(&context, request, &job);
  if (!status.ok()) Die(absl::StrCat("TrainJob: ", status.error_message()));
  return job;
}

v1::Job WaitEnd(Stubs& stubs, const std::string& name) {
  v1::WaitJobRequest request;
  request.set_name(name);
  request.mutable_timeout()->set_seconds(300);
  v1::Job job;
  for (int i = 0; i < 12 && !job.has_end_time(); ++i) {
    grpc::ClientContext context;
    const grpc::Status status = stubs.jobs->WaitJob(&context, request, &job);
    if (!status.ok()) Die(absl::StrCat("WaitJob: ", status.error_message()));
  }
  return job;
}

double WatchUntil(Stubs& stubs, const std::string& name,
                  const std::function<bool(const v1::JobEvent&)>& wanted) {
  v1::WatchJobRequest request;
  request.set_name(name);
  grpc::ClientContext context;
  const auto reader = stubs.jobs->WatchJob(&context, request);
  v1::JobEvent event;
  while (reader->Read(&event)) {
    if (!wanted(event)) continue;
    const double time = Now();
    context.TryCancel();
    while (reader->Read(&event)) {
    }
    reader->Finish();
    return time;
  }
  Die(absl::StrCat("the watch of ", name, " ended: ", reader->Finish().error_message()));
}

}  // namespace adamant::bench
