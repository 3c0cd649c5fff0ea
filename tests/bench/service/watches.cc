// SPDX-License-Identifier: Apache-2.0
// Streams: event_latency_progress, event_latency_durable, event_rate, watchers.
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/jobs/job.h"
#include "server/store/await.h"
#include "server/store/sqlite_store.h"
#include "tests/bench/service/bench.h"

namespace adamant::bench {
namespace {

// From the worker's send to the watcher's receipt, by stamps in the messages.
BenchResult RunLatency(const BenchOptions& options, bool durable) {
  const int64_t jobs = options.n > 0 ? options.n : 5;
  BenchServer server;
  Stubs stubs(server.address());
  std::vector<double> seconds;
  for (int64_t i = 0; i < jobs; ++i) {
    v1::WatchJobRequest request;
    request.set_name(Submit(stubs, FakeTraining(testing::kStamp)).name());
    request.mutable_min_interval()->set_nanos(1'000'000);
    grpc::ClientContext context;
    const auto reader = stubs.jobs->WatchJob(&context, request);
    for (v1::JobEvent event; reader->Read(&event);) {
      if (!durable && event.has_progress() && event.progress().samples_per_second() > 0)
        seconds.push_back(Now() - event.progress().samples_per_second());
      if (!durable || !event.has_metric()) continue;
      for (const v1::MetricPoint& point : event.metric().points()) {
        if (point.value() > 1) seconds.push_back(Now() - point.value());
      }
    }
    if (!reader->Finish().ok()) Die("the watch failed");
  }
  BenchResult result = Milliseconds(std::move(seconds));
  result.note = "from the worker's send to the watcher's receipt";
  return result;
}

BenchResult RunProgressLatency(const BenchOptions& options) { return RunLatency(options, false); }
BenchResult RunDurableLatency(const BenchOptions& options) { return RunLatency(options, true); }

// A stored job with `count` METRIC events; returns its name.
std::string StoreEvents(const std::string& folder, int64_t count) {
  std::filesystem::create_directories(folder);
  auto store = OpenSqliteStore({.path = folder + "/store.db", .on_fatal = nullptr});
  if (!store.ok()) Die(std::string(store.status().message()));
  v1::JobSpec spec;
  *spec.mutable_train() = FakeTraining(testing::kSucceed).spec();
  const NewJob job = MakeJob(spec, {}, "local", "local", absl::Now());
  const std::string name = job.job.name();
  const auto change = [&](std::function<absl::Status(JobDraft&)> apply) {
    const auto changed = Await<v1::Job>([&](Reply<v1::Job> reply) {
      (*store)->ChangeJob({name.substr(5), "", std::nullopt, {}, std::move(apply)},
                          std::move(reply));
    });
    if (!changed.ok()) Die(std::string(changed.status().message()));
  };
  Await<SubmittedJob>([&](Reply<SubmittedJob> reply) {
    (*store)->Submit(job, std::move(reply));
  }).IgnoreError();
  for (int64_t done = 0; done < count; done += 1000) {
    change([done](JobDraft& draft) {
      for (int64_t i = 0; i < 1000; ++i) {
        v1::MetricPoint& point =
            *AddEvent(draft, v1::METRIC, absl::Now()).mutable_metric()->add_points();
        point.set_name("loss");
        point.set_step(done + i);
        point.set_value(0.5);
      }
      return absl::OkStatus();
    });
  }
  change([](JobDraft& draft) { return CancelJob(draft, absl::Now()); });
  return name;
}

BenchResult RunEventRate(const BenchOptions& options) {
  const int64_t count = options.n > 0 ? options.n : 100000;
  constexpr int kWatchers = 8;
  BenchServer server;
  server.process().Terminate();
  const std::string name = StoreEvents(server.data_dir(), count);
  server.Start();
  std::atomic<int64_t> received{0};
  const double cpu_before = CpuSeconds(server.pid());
  const double begin = Now();
  std::vector<std::thread> watchers;
  for (int i = 0; i < kWatchers; ++i) {
    watchers.emplace_back([&] {
      Stubs stubs(server.address());
      v1::WatchJobRequest request;
      request.set_name(name);
      request.set_from_seq(1);
      grpc::ClientContext context;
      const auto reader = stubs.jobs->WatchJob(&context, request);
      int64_t last = 0;
      for (v1::JobEvent event; reader->Read(&event);) {
        if (event.seq() == 0) continue;
        if (event.seq() != last + 1) Die(absl::StrCat("a gap before seq ", event.seq()));
        last = event.seq();
        ++received;
      }
      if (!reader->Finish().ok()) Die("the watch failed");
    });
  }
  for (std::thread& watcher : watchers) watcher.join();
  const double wall = Now() - begin;
  const double cpu = CpuSeconds(server.pid()) - cpu_before;
  BenchResult result;
  result.n = received;
  result.value = static_cast<double>(received) / cpu;
  result.unit = "events per server CPU-second";
  result.note = absl::StrFormat("8 watchers replay %d events each, %.0f events per second", count,
                                static_cast<double>(received) / wall);
  return result;
}

// Seconds that a training of `steps` steps runs while `watchers` watch it.
double TrainingSeconds(BenchServer& server, int steps, int watchers) {
  Stubs stubs(server.address());
  const std::string name = Submit(stubs, RealTraining(steps)).name();
  grpc::CompletionQueue queue;
  struct Watch {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientAsyncReader<v1::JobEvent>> reader;
    v1::JobEvent event;
  };
  std::vector<std::unique_ptr<Stubs>> connections;
  for (int i = 0; i < (watchers + 49) / 50; ++i)  // at most 64 streams per connection
    connections.push_back(std::make_unique<Stubs>(server.address()));
  v1::WatchJobRequest request;
  request.set_name(name);
  std::vector<std::unique_ptr<Watch>> all;
  for (int i = 0; i < watchers; ++i) {
    Watch& watch = *all.emplace_back(std::make_unique<Watch>());
    watch.reader = connections[static_cast<size_t>(i / 50)]->jobs->AsyncWatchJob(
        &watch.context, request, &queue, &watch);
  }
  std::thread pump([&] {
    size_t open = all.size();
    void* tag = nullptr;
    for (bool ok = false; open > 0 && queue.Next(&tag, &ok);) {
      auto* watch = static_cast<Watch*>(tag);
      if (ok) {
        watch->reader->Read(&watch->event, watch);
      } else {
        --open;
      }
    }
  });
  const v1::Job job = WaitEnd(stubs, name);
  pump.join();
  for (auto& watch : all) watch->context.TryCancel();
  queue.Shutdown();
  void* tag = nullptr;
  for (bool ok = false; queue.Next(&tag, &ok);) {
  }
  if (job.state() != v1::SUCCEEDED) Die(absl::StrCat("the training: ", job.state_message()));
  return job.result().train().train_seconds();
}

BenchResult RunWatchers(const BenchOptions& options) {
  const int64_t rounds = options.n > 0 ? options.n : 3;
  BenchServer server(BenchServer::Worker::kReal, {"--threads-per-slot", "1"},
                     BenchServer::Cores::kAny);
  std::vector<double> alone;
  std::vector<double> watched;
  TrainingSeconds(server, 100, 0);
  for (int64_t i = 0; i < rounds; ++i) {
    alone.push_back(TrainingSeconds(server, 200, 0));
    watched.push_back(TrainingSeconds(server, 200, 1000));
  }
  BenchResult result;
  result.n = rounds;
  result.p50 = Percentile(watched, 0.5);
  result.value = 100 * (result.p50 / Percentile(alone, 0.5) - 1);
  result.unit = "% slower";
  result.note = absl::StrFormat(
      "median seconds of 200 steps: %.2f alone, %.2f with 1000 watchers (the watchers' client "
      "shares the two cores)",
      Percentile(alone, 0.5), Percentile(watched, 0.5));
  return result;
}

}  // namespace

std::vector<BenchRow> WatchRows() {
  return {{"event_latency_progress", "p50 <= 5 ms, p99 <= 50 ms", RunProgressLatency},
          {"event_latency_durable", "p50 <= 25 ms, p99 <= 60 ms", RunDurableLatency},
          {"event_rate", ">= 500000 events per server CPU-second", RunEventRate},
          {"watchers", "training slows < 1 %", RunWatchers}};
}

}  // namespace adamant::bench
