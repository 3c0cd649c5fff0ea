// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/job.pb.h"
#include "server/telemetry/metrics_sample.h"

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

// The metrics of service.md 12 and their HTTP endpoint. Names have the prefix adamant_, except
// those of gRPC (as in go-grpc-prometheus) and of the process (as in every Prometheus client).
// Every known label set exists from the start; each family has a hard cap, and what exceeds it
// counts as "other". Thread-safe.
class Metrics {
 public:
  explicit Metrics(const MetricsOptions& options);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Starts the endpoint on host:port, port 0 for a free one, and returns the bound address.
  // UNAVAILABLE when the address is taken.
  absl::StatusOr<std::string> Serve(const std::string& address);

  // Ends the endpoint; no collector is called afterwards.
  void Stop();

  // Called at a scrape, at most once a second. `name` is jobs, blobs, gpu or process; what the
  // collector uses must outlive the endpoint.
  void AddCollector(absl::string_view name, SampleCollector collector);

  // The exposition text, as a scrape returns it.
  std::string Text();

  // Calls. `method` is "/package.Service/Method"; unknown ones are not counted. Every call that was
  // started is ended once; messages count on streams only.
  void RpcStarted(absl::string_view method);
  void RpcReceived(absl::string_view method);
  void RpcSent(absl::string_view method);
  void RpcHandled(absl::string_view method, int grpc_code, double seconds);
  // `reason` of its ErrorInfo: counts failed credentials, exceeded quotas, ended watches and a
  // failing store.
  void RpcFailed(absl::string_view method, absl::string_view reason);

  // `outcome`: accepted, deduplicated, rejected.
  void JobSubmitted(v1::JobKind kind, absl::string_view outcome);
  void JobFinished(v1::JobKind kind, v1::JobState state, v1::StateReason reason);
  void AttemptEnded(v1::JobKind kind, v1::AttemptOutcome outcome);
  void JobWaited(v1::JobKind kind, double seconds);   // queued to claimed
  void JobStarted(v1::JobKind kind, double seconds);  // claimed to the first step
  void JobRan(v1::JobKind kind, double seconds);
  void JobRecovered(absl::string_view result);  // requeued, failed

  void TrainSteps(absl::string_view dataset_family, int64_t steps, int64_t samples);
  // `phase`: data, attack, forward_backward, optimizer, checkpoint; `seconds` is the mean of
  // `steps` steps.
  void TrainStepSeconds(absl::string_view phase, int64_t steps, double seconds);
  void NonfiniteLoss(v1::JobKind kind);
  void AttackSamples(absl::string_view attack, int64_t samples, int64_t successes);
  void AttackGradientQueries(absl::string_view attack, int64_t queries);
  void ExplainMaps(absl::string_view explainer, int64_t maps);
  // Time to compute one explanation, interactive or of a job.
  void ExplainSeconds(double seconds);

  // `direction`: upload, download. `result`: ok, resumed, dedup, mismatch, aborted.
  void BlobBytes(absl::string_view direction, int64_t bytes);
  void BlobTransfer(absl::string_view direction, absl::string_view result);
  void BlobTransferSeconds(absl::string_view direction, double seconds);

  void EventsAppended(int64_t count);
  void EventsSent(int64_t count);
  // Durable events that a watch had still to send when it read the log.
  void WatchLag(int64_t events);

  // `op`: submit, claim, transition, events, read, other.
  void StoreTransaction(absl::string_view op, double seconds);
  // `op`: commit, read, backup, other.
  void StoreError(absl::string_view op);

  void LeaseRenewed(bool kept);  // false: another attempt owns the job
  void WriteFenced();
  // `cause`: ok, error, signal, oom, device, lost.
  void WorkerExited(absl::string_view cause);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace adamant
