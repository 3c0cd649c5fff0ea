// SPDX-License-Identifier: Apache-2.0
// Unary calls: submit, get, unary_cpu, list.
#include <atomic>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/jobs/job.h"
#include "server/store/await.h"
#include "server/store/sqlite_store.h"
#include "tests/bench/service/bench.h"

namespace adamant::bench {
namespace {

constexpr int kClients = 8;

// Runs `body(client index, stubs)` on one thread per client, each with its own connection.
void OnClients(const std::string& address, int clients,
               const std::function<void(int, Stubs&)>& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&, i] {
      Stubs stubs(address);
      body(i, stubs);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Jobs that wait: their slot is taken by one that never ends.
v1::TrainJobRequest Waiting(int64_t number) {
  v1::TrainJobRequest request = FakeTraining(testing::kSucceed);
  request.mutable_options()->set_start_paused(true);
  (*request.mutable_options()->mutable_labels())["number"] = absl::StrCat(number);
  return request;
}

BenchResult RunSubmit(const BenchOptions& options) {
  const int64_t total = options.n > 0 ? options.n : 5000;
  BenchServer server;
  std::vector<std::vector<double>> seconds(kClients);
  std::atomic<int64_t> next{0};
  const double cpu_before = CpuSeconds(server.pid());
  const double begin = Now();
  OnClients(server.address(), kClients, [&](int client, Stubs& stubs) {
    for (int64_t i = next++; i < total; i = next++) {
      const v1::TrainJobRequest request = Waiting(i);
      const double start = Now();
      Submit(stubs, request);
      seconds[static_cast<size_t>(client)].push_back(Now() - start);
    }
  });
  const double wall = Now() - begin;
  std::vector<double> all;
  for (const auto& some : seconds) all.insert(all.end(), some.begin(), some.end());
  BenchResult result = Milliseconds(std::move(all));
  result.note = absl::StrFormat("%.0f submits per second, %.2f ms of server CPU each",
                                static_cast<double>(total) / wall,
                                1e3 * (CpuSeconds(server.pid()) - cpu_before) / total);
  return result;
}

// GetJob while another client submits without pause.
BenchResult RunGet(const BenchOptions& options) {
  const int64_t total = options.n > 0 ? options.n : 100000;
  BenchServer server;
  Stubs stubs(server.address());
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back(Submit(stubs, Waiting(i)).name());
  std::atomic<bool> over{false};
  std::thread submitter([&] {
    Stubs own(server.address());
    for (int64_t i = 0; !over; ++i) Submit(own, Waiting(i));
  });
  std::vector<double> seconds;
  v1::GetJobRequest request;
  for (int64_t i = 0; i < total; ++i) {
    request.set_name(names[static_cast<size_t>(i) % names.size()]);
    v1::Job job;
    grpc::ClientContext context;
    const double start = Now();
    if (!stubs.jobs->GetJob(&context, request, &job).ok()) Die("GetJob failed");
    seconds.push_back(Now() - start);
  }
  over = true;
  submitter.join();
  return Milliseconds(std::move(seconds));
}

// Server CPU of GetJob under load from several asynchronous streams of calls.
BenchResult RunUnaryCpu(const BenchOptions& options) {
  const int64_t total = options.n > 0 ? options.n : 200000;
  BenchServer server;
  Stubs first(server.address());
  const std::string name = Submit(first, Waiting(0)).name();
  std::atomic<int64_t> left{total};
  const double cpu_before = CpuSeconds(server.pid());
  const double begin = Now();
  OnClients(server.address(), 2, [&](int /*client*/, Stubs& stubs) {
    constexpr int kInFlight = 64;
    struct Call {
      grpc::ClientContext context;
      v1::Job job;
      grpc::Status status;
    };
    grpc::CompletionQueue queue;
    v1::GetJobRequest request;
    request.set_name(name);
    const auto start = [&] {
      auto* call = new Call;
      const auto reader = stubs.jobs->AsyncGetJob(&call->context, request, &queue);
      reader->Finish(&call->job, &call->status, call);
    };
    int in_flight = 0;
    for (; in_flight < kInFlight && left-- > 0; ++in_flight) start();
    void* tag = nullptr;
    for (bool ok = false; in_flight > 0 && queue.Next(&tag, &ok); --in_flight) {
      const std::unique_ptr<Call> call(static_cast<Call*>(tag));
      if (!call->status.ok()) Die(absl::StrCat("GetJob: ", call->status.error_message()));
      if (left-- > 0) {
        start();
        ++in_flight;
      }
    }
  });
  const double cpu = CpuSeconds(server.pid()) - cpu_before;
  BenchResult result;
  result.n = total;
  result.value = static_cast<double>(total) / cpu;
  result.unit = "calls per server CPU-second";
  result.note = absl::StrFormat("%.0f calls per second of wall time", total / (Now() - begin));
  return result;
}

// Fills a store with ended jobs of which one in a thousand carries the label that is asked for.
void FillStore(const std::string& folder, int64_t jobs) {
  std::filesystem::create_directories(folder);
  auto store = OpenSqliteStore({.path = folder + "/store.db", .on_fatal = nullptr});
  if (!store.ok()) Die(std::string(store.status().message()));
  std::atomic<int64_t> left{jobs};
  absl::Notification done;
  for (int64_t i = 0; i < jobs; ++i) {
    v1::JobSpec spec;
    *spec.mutable_train() = FakeTraining(testing::kSucceed).spec();
    v1::SubmitOptions options;
    (*options.mutable_labels())["rare"] = i % 1000 == 0 ? "yes" : "no";
    NewJob job = MakeJob(spec, options, "local", "local", absl::Now());
    const std::string uid = job.job.name().substr(5);
    (*store)->Submit(std::move(job), [&, uid](const absl::StatusOr<SubmittedJob>& submitted) {
      if (!submitted.ok()) Die(std::string(submitted.status().message()));
      JobChange end{
          uid, "", std::nullopt, {}, [](JobDraft& draft) { return CancelJob(draft, absl::Now()); }};
      (*store)->ChangeJob(std::move(end), [&](const absl::StatusOr<v1::Job>& ended) {
        if (!ended.ok()) Die(std::string(ended.status().message()));
        if (--left == 0) done.Notify();
      });
    });
  }
  done.WaitForNotification();
}

BenchResult RunList(const BenchOptions& options) {
  const int64_t calls = options.n > 0 ? options.n : 2000;
  constexpr int64_t kJobs = 100000;
  BenchServer server;
  server.process().Terminate();
  FillStore(server.data_dir(), kJobs);
  server.Start();
  Stubs stubs(server.address());
  const std::vector<std::string> filters = {"", "state = CANCELLED", "label.rare = \"yes\"",
                                            "state = RUNNING"};
  std::vector<std::string> tokens(filters.size());
  std::vector<double> seconds;
  std::vector<double> worst(filters.size());
  const double cpu_before = CpuSeconds(server.pid());
  for (int64_t i = 0; i < calls; ++i) {
    const size_t kind = static_cast<size_t>(i) % filters.size();
    v1::ListJobsRequest request;
    request.set_page_size(50);
    request.set_filter(filters[kind]);
    request.set_page_token(tokens[kind]);  // ever deeper
    v1::ListJobsResponse response;
    grpc::ClientContext context;
    const double start = Now();
    const grpc::Status status = stubs.jobs->ListJobs(&context, request, &response);
    if (!status.ok()) Die(status.error_message());
    seconds.push_back(Now() - start);
    worst[kind] = std::max(worst[kind], seconds.back());
    tokens[kind] = response.next_page_token();
  }
  BenchResult result = Milliseconds(std::move(seconds));
  result.note = absl::StrFormat(
      "100000 jobs; slowest of: no filter %.1f ms, a common state %.1f, a rare label %.1f, a state "
      "that no job has %.1f; %.2f ms of server CPU each; server resident %.0f MB",
      1e3 * worst[0], 1e3 * worst[1], 1e3 * worst[2], 1e3 * worst[3],
      1e3 * (CpuSeconds(server.pid()) - cpu_before) / static_cast<double>(calls),
      1e-6 * static_cast<double>(ResidentBytes(server.pid())));
  return result;
}

}  // namespace

std::vector<BenchRow> CallRows() {
  return {{"submit", "p50 <= 5 ms, p99 <= 25 ms", RunSubmit},
          {"get", "p50 <= 0.2 ms, p99 <= 2 ms", RunGet},
          {"unary_cpu", ">= 50000 calls per server CPU-second", RunUnaryCpu},
          {"list", "p99 <= 10 ms", RunList}};
}

}  // namespace adamant::bench
