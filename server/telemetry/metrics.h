// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

// Facts that label sets are made from at start.
struct MetricsOptions {
  std::string version;
  std::string commit;
  std::string libtorch;
  std::string grpc;
  int slots = 1;
  std::vector<std::string> attacks;     // catalogue names
  std::vector<std::string> explainers;  // catalogue names
};

// Values that are read when the endpoint is scraped, at most once a second.
struct MetricsSample {
  std::map<std::pair<v1::JobKind, v1::JobState>, int64_t> jobs;
  int64_t cas_bytes = 0;
  int64_t cas_objects = 0;
  int64_t watchers = 0;
  int64_t busy_workers = 0;
  int64_t idle_workers = 0;
  // Newest values of the job on each slot, by name; empty when it is idle. Names are loss,
  // clean_accuracy, robust_accuracy, lr and epoch_fraction; others are ignored.
  std::vector<std::map<std::string, double>> slots;
  bool draining = false;
};

// The metrics of service.md 12 and their HTTP endpoint. Every known label set exists from the
// start; an unknown label value counts as "other". Thread-safe.
class Metrics {
 public:
  explicit Metrics(const MetricsOptions& options);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Starts the endpoint on host:port, port 0 for a free one, and returns the bound address.
  // UNAVAILABLE when the address is taken.
  absl::StatusOr<std::string> Serve(const std::string& address);

  // Ends the endpoint; `sampler` is not called afterwards.
  void Stop();

  // Must outlive the endpoint.
  void SetSampler(std::function<MetricsSample()> sampler);

  // The exposition text, as a scrape returns it.
  std::string Text();

  // `method` is "/package.Service/Method"; unknown ones are not counted.
  void RpcStarted(absl::string_view method);
  void RpcHandled(absl::string_view method, int grpc_code, double seconds);

  void JobSubmitted(v1::JobKind kind,
                    absl::string_view outcome);  // accepted, deduplicated, rejected
  void JobFinished(v1::JobKind kind, v1::JobState state, v1::StateReason reason);
  void JobWaited(v1::JobKind kind, double seconds);
  void JobRan(v1::JobKind kind, double seconds);
  void TrainSteps(absl::string_view dataset_family, int64_t steps);
  void AttackSamples(absl::string_view attack, int64_t samples, int64_t successes);
  void ExplainMaps(absl::string_view explainer, int64_t maps);
  void BlobBytes(absl::string_view direction, int64_t bytes);  // upload, download
  void BlobTransfer(absl::string_view direction, absl::string_view result);
  void EventsAppended(int64_t count);
  void EventsSent(int64_t count);
  void WorkerExited(absl::string_view cause);  // ok, error, signal, oom, device, lost

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace adamant
