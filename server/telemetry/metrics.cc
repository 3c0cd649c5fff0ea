// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/metrics.h"

#include <prometheus/exposer.h>
#include <prometheus/text_serializer.h>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "server/telemetry/job_metrics.h"
#include "server/telemetry/metric_names.h"
#include "server/telemetry/rpc_metrics.h"
#include "server/telemetry/scrape_metrics.h"
#include "server/telemetry/service_metrics.h"

namespace adamant {
namespace {

// Refreshes before the registry is read and contributes no metric of its own.
class Refresher : public prometheus::Collectable {
 public:
  explicit Refresher(ScrapeMetrics& metrics) : metrics_(metrics) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    metrics_.Refresh();
    return {};
  }

 private:
  ScrapeMetrics& metrics_;
};

void Count(Labelled<prometheus::Counter>& family, const std::string& label, int64_t count) {
  if (count > 0) family.Known({label}).Increment(static_cast<double>(count));
}

void CountAs(Labelled<prometheus::Counter>& family, const std::vector<std::string>& labels) {
  if (prometheus::Counter* counter = family.Find(labels)) counter->Increment();
}

void Observe(Labelled<prometheus::Histogram>& family, const std::string& label, double value) {
  if (prometheus::Histogram* histogram = family.Find({label})) histogram->Observe(value);
}

}  // namespace

struct Metrics::Impl {
  explicit Impl(const MetricsOptions& options)
      : rpcs(*registry), jobs(*registry, options), service(*registry), scrape(*registry, options) {
    prometheus::BuildGauge()
        .Name("adamant_build_info")
        .Help("1, labelled with the versions")
        .Register(*registry)
        .Add({{"version", options.version},
              {"commit", options.commit},
              {"libtorch", options.libtorch},
              {"grpc", options.grpc}})
        .Set(1);
  }

  const std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  RpcMetrics rpcs;
  JobMetrics jobs;
  ServiceMetrics service;
  ScrapeMetrics scrape;
  const std::shared_ptr<Refresher> refresher = std::make_shared<Refresher>(scrape);
  std::unique_ptr<prometheus::Exposer> exposer;
};

Metrics::Metrics(const MetricsOptions& options) : impl_(std::make_unique<Impl>(options)) {}

Metrics::~Metrics() { Stop(); }

absl::StatusOr<std::string> Metrics::Serve(const std::string& address) {
  try {
    impl_->exposer = std::make_unique<prometheus::Exposer>(address);
  } catch (const std::exception&) {
    return WithReason(
        absl::UnavailableError(absl::StrCat(
            "cannot listen for metrics on ", address,
            "; another process has the address, or it is malformed; choose --metrics-address")),
        "ADDRESS_IN_USE", {{"address", address}});
  }
  impl_->exposer->RegisterCollectable(impl_->refresher);
  impl_->exposer->RegisterCollectable(impl_->registry);
  const size_t colon = address.rfind(':');
  const std::string host = colon == std::string::npos ? "0.0.0.0" : address.substr(0, colon);
  const std::vector<int> ports = impl_->exposer->GetListeningPorts();
  return absl::StrCat(host, ":", ports.empty() ? 0 : ports.front());
}

void Metrics::Stop() {
  impl_->exposer.reset();
  impl_->scrape.RemoveCollectors();
}

void Metrics::AddCollector(absl::string_view name, SampleCollector collector) {
  impl_->scrape.AddCollector(name, std::move(collector));
}

std::string Metrics::Text() {
  impl_->scrape.Refresh();
  return prometheus::TextSerializer().Serialize(impl_->registry->Collect());
}

void Metrics::RpcStarted(absl::string_view method) { impl_->rpcs.Started(method); }

void Metrics::RpcReceived(absl::string_view method) { impl_->rpcs.Received(method); }

void Metrics::RpcSent(absl::string_view method) { impl_->rpcs.Sent(method); }

void Metrics::RpcHandled(absl::string_view method, int grpc_code, double seconds) {
  impl_->rpcs.Handled(method, grpc_code, seconds);
  if (grpc_code != 0) return;
  if (method == "/adamant.v1.BlobService/Write") BlobTransferSeconds("upload", seconds);
  if (method == "/adamant.v1.BlobService/Read") BlobTransferSeconds("download", seconds);
}

void Metrics::RpcFailed(absl::string_view method, absl::string_view reason) {
  impl_->service.CountFailure(method, reason);
}

void Metrics::JobSubmitted(v1::JobKind kind, absl::string_view outcome) {
  CountAs(*impl_->jobs.submitted, {LabelOf(kind), std::string(outcome)});
}

void Metrics::JobFinished(v1::JobKind kind, v1::JobState state, v1::StateReason reason) {
  const std::string why = state == v1::SUCCEEDED ? "" : LabelOf(reason);
  impl_->jobs.finished->At({LabelOf(kind), LabelOf(state), why}).Increment();
}

void Metrics::AttemptEnded(v1::JobKind kind, v1::AttemptOutcome outcome) {
  CountAs(*impl_->jobs.attempts, {LabelOf(kind), LabelOf(outcome)});
}

void Metrics::JobWaited(v1::JobKind kind, double seconds) {
  Observe(*impl_->jobs.queue_wait, LabelOf(kind), seconds);
}

void Metrics::JobStarted(v1::JobKind kind, double seconds) {
  Observe(*impl_->jobs.start_seconds, LabelOf(kind), seconds);
}

void Metrics::JobRan(v1::JobKind kind, double seconds) {
  Observe(*impl_->jobs.run_seconds, LabelOf(kind), seconds);
}

void Metrics::JobRecovered(absl::string_view result) {
  CountAs(*impl_->jobs.recovered, {std::string(result)});
}

void Metrics::TrainSteps(absl::string_view dataset_family, int64_t steps, int64_t samples) {
  Count(*impl_->jobs.train_steps, std::string(dataset_family), steps);
  Count(*impl_->jobs.train_samples, std::string(dataset_family), samples);
}

void Metrics::TrainStepSeconds(absl::string_view phase, int64_t steps, double seconds) {
  prometheus::Histogram* const histogram = impl_->jobs.step_seconds->Find({std::string(phase)});
  for (int64_t i = 0; histogram != nullptr && i < steps; ++i) histogram->Observe(seconds);
}

void Metrics::NonfiniteLoss(v1::JobKind kind) { CountAs(*impl_->jobs.nonfinite, {LabelOf(kind)}); }

void Metrics::AttackSamples(absl::string_view attack, int64_t samples, int64_t successes) {
  Count(*impl_->jobs.attack_samples, std::string(attack), samples);
  Count(*impl_->jobs.attack_successes, std::string(attack), successes);
}

void Metrics::AttackGradientQueries(absl::string_view attack, int64_t queries) {
  Count(*impl_->jobs.attack_queries, std::string(attack), queries);
}

void Metrics::ExplainMaps(absl::string_view explainer, int64_t maps) {
  Count(*impl_->jobs.explain_maps, std::string(explainer), maps);
}

void Metrics::ExplainSeconds(double seconds) { impl_->jobs.explain_seconds.Observe(seconds); }

void Metrics::BlobBytes(absl::string_view direction, int64_t bytes) {
  if (auto* counter = impl_->service.blob_bytes->Find({std::string(direction)}))
    counter->Increment(static_cast<double>(bytes));
}

void Metrics::BlobTransfer(absl::string_view direction, absl::string_view result) {
  CountAs(*impl_->service.blob_transfers, {std::string(direction), std::string(result)});
}

void Metrics::BlobTransferSeconds(absl::string_view direction, double seconds) {
  Observe(*impl_->service.blob_seconds, std::string(direction), seconds);
}

void Metrics::EventsAppended(int64_t count) {
  impl_->service.events_appended.Increment(static_cast<double>(count));
}

void Metrics::EventsSent(int64_t count) {
  impl_->service.events_sent.Increment(static_cast<double>(count));
}

void Metrics::WatchLag(int64_t events) {
  impl_->service.watch_lag.Observe(static_cast<double>(events));
}

void Metrics::StoreTransaction(absl::string_view op, double seconds) {
  auto* histogram = impl_->service.transaction_seconds->Find({std::string(op)});
  if (histogram == nullptr) histogram = impl_->service.transaction_seconds->Find({"other"});
  histogram->Observe(seconds);
}

void Metrics::StoreError(absl::string_view op) {
  Count(*impl_->service.store_errors, std::string(op), 1);
}

void Metrics::LeaseRenewed(bool kept) {
  CountAs(*impl_->service.lease_renewals, {kept ? "ok" : "lost"});
  if (!kept) impl_->service.leases_lost.Increment();
}

void Metrics::WriteFenced() { impl_->service.writes_fenced.Increment(); }

void Metrics::WorkerExited(absl::string_view cause) {
  CountAs(*impl_->service.worker_exits, {std::string(cause)});
}

}  // namespace adamant
