// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <limits>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/error_reason.h"
#include "google/protobuf/descriptor.h"
#include "server/telemetry/labelled.h"
#include "server/telemetry/process_sample.h"

namespace adamant {
namespace {

const Buckets kRpcBuckets{.0005, .001, .0025, .005, .01, .025, .1, .5, 2.5, 10};
const Buckets kWaitBuckets{1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240};
const Buckets kRunBuckets{1, 5, 15, 60, 300, 900, 3600, 7200, 14400, 28800, 57600, 86400};
constexpr size_t kMaxRpcCodes = 200;
constexpr int kMaxSlots = 16;
constexpr double kIdle = std::numeric_limits<double>::quiet_NaN();
constexpr absl::Duration kSampleAge = absl::Seconds(1);
constexpr const char* kActiveNames[] = {"loss", "clean_accuracy", "robust_accuracy", "lr",
                                        "epoch_fraction"};
constexpr const char* kReaders[] = {"shapes", "mnist", "cifar10", "image_folder"};
constexpr const char* kServices[] = {"RobustnessService", "BlobService", "ModelService",
                                     "DatasetService", "SystemService"};
constexpr const char* kCodes[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

// Runs a function at every scrape and contributes no metric of its own.
class Refresher : public prometheus::Collectable {
 public:
  explicit Refresher(std::function<void()> refresh) : refresh_(std::move(refresh)) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    refresh_();
    return {};
  }

 private:
  const std::function<void()> refresh_;
};

struct RpcMetrics {
  std::vector<std::string> labels;  // service, method, type
  prometheus::Counter* started = nullptr;
  prometheus::Histogram* seconds = nullptr;  // null for streams and long polls
};

std::string Lower(const std::string& name) { return absl::AsciiStrToLower(name); }

std::string RpcType(const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming()) return method.server_streaming() ? "bidi_stream" : "client_stream";
  return method.server_streaming() ? "server_stream" : "unary";
}

}  // namespace

struct Metrics::Impl {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::shared_ptr<Refresher> refresher;
  std::unique_ptr<prometheus::Exposer> exposer;

  absl::Mutex mutex;
  std::function<MetricsSample()> sampler ABSL_GUARDED_BY(mutex);
  absl::Time sampled ABSL_GUARDED_BY(mutex) = absl::InfinitePast();
  absl::flat_hash_map<std::string, RpcMetrics> rpcs;  // constant after construction

  template <typename Metric>
  using Pointer = std::unique_ptr<Labelled<Metric>>;

  Pointer<prometheus::Counter> rpc_started, rpc_handled, submitted, finished, train_steps,
      attack_samples, attack_successes, explain_maps, blob_bytes, blob_transfers, worker_exits;
  Pointer<prometheus::Histogram> rpc_seconds, queue_wait, run_seconds;
  Pointer<prometheus::Gauge> jobs, active, workers;
  prometheus::Counter* events_appended = nullptr;
  prometheus::Counter* events_sent = nullptr;
  prometheus::Gauge* cas_bytes = nullptr;
  prometheus::Gauge* cas_objects = nullptr;
  prometheus::Gauge* watchers = nullptr;
  prometheus::Gauge* draining = nullptr;
  prometheus::Counter* process_cpu = nullptr;
  prometheus::Gauge* process_gauges[5] = {};

  Pointer<prometheus::Counter> Counters(const char* name, const char* help,
                                        std::vector<std::string> labels, size_t cap) {
    return std::make_unique<Labelled<prometheus::Counter>>(
        prometheus::BuildCounter().Name(name).Help(help).Register(*registry), std::move(labels),
        cap);
  }
  Pointer<prometheus::Gauge> Gauges(const char* name, const char* help,
                                    std::vector<std::string> labels, size_t cap) {
    return std::make_unique<Labelled<prometheus::Gauge>>(
        prometheus::BuildGauge().Name(name).Help(help).Register(*registry), std::move(labels), cap);
  }
  Pointer<prometheus::Histogram> Histograms(const char* name, const char* help,
                                            std::vector<std::string> labels, size_t cap,
                                            Buckets buckets) {
    return std::make_unique<Labelled<prometheus::Histogram>>(
        prometheus::BuildHistogram().Name(name).Help(help).Register(*registry), std::move(labels),
        cap, std::move(buckets));
  }
  prometheus::Gauge* Gauge(const char* name, const char* help) {
    return &prometheus::BuildGauge().Name(name).Help(help).Register(*registry).Add({});
  }
  prometheus::Counter* Counter(const char* name, const char* help) {
    return &prometheus::BuildCounter().Name(name).Help(help).Register(*registry).Add({});
  }

  void MakeRpcMetrics();
  void MakeJobMetrics(const MetricsOptions& options);
  void MakeStoreMetrics();
  void MakeProcessMetrics(const MetricsOptions& options);
  void Refresh();
  void RefreshProcess();
};

void Metrics::Impl::MakeRpcMetrics() {
  const std::vector<std::string> labels{"grpc_service", "grpc_method", "grpc_type"};
  rpc_started = Counters("grpc_server_started_total", "RPCs started on the server", labels, 64);
  rpc_handled = Counters("grpc_server_handled_total", "RPCs completed, by code",
                         {"grpc_service", "grpc_method", "grpc_type", "grpc_code"}, kMaxRpcCodes);
  rpc_seconds = Histograms("grpc_server_handling_seconds", "Time to answer unary RPCs", labels, 64,
                           kRpcBuckets);
  for (const char* service : kServices) {
    const google::protobuf::ServiceDescriptor* descriptor =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
            absl::StrCat("adamant.v1.", service));
    for (int i = 0; descriptor != nullptr && i < descriptor->method_count(); ++i) {
      const auto& method = *descriptor->method(i);
      RpcMetrics rpc;
      rpc.labels = {descriptor->full_name(), method.name(), RpcType(method)};
      rpc.started = &rpc_started->At(rpc.labels);
      if (rpc.labels[2] == "unary" && method.name() != "WaitJob")
        rpc.seconds = &rpc_seconds->At(rpc.labels);
      rpc_handled->At({rpc.labels[0], rpc.labels[1], rpc.labels[2], "OK"});
      rpcs[absl::StrCat("/", descriptor->full_name(), "/", method.name())] = rpc;
    }
  }
}

void Metrics::Impl::MakeJobMetrics(const MetricsOptions& options) {
  submitted = Counters("adamant_jobs_submitted_total", "Submit requests by what became of them",
                       {"kind", "outcome"}, 9);
  finished = Counters("adamant_jobs_finished_total", "Jobs that reached a terminal state",
                      {"kind", "state", "reason"}, 64);
  jobs = Gauges("adamant_jobs", "Jobs in each state", {"kind", "state"}, 30);
  queue_wait = Histograms("adamant_job_queue_wait_seconds", "Time from queued to claimed", {"kind"},
                          3, kWaitBuckets);
  run_seconds = Histograms("adamant_job_run_seconds", "Time from the first start to the end",
                           {"kind"}, 3, kRunBuckets);
  for (const v1::JobKind kind : {v1::TRAIN, v1::ATTACK, v1::EXPLAIN}) {
    const std::string name = Lower(v1::JobKind_Name(kind));
    for (const char* outcome : {"accepted", "deduplicated", "rejected"})
      submitted->At({name, outcome});
    for (int state = v1::QUEUED; state <= v1::CANCELLED; ++state)
      jobs->At({name, Lower(v1::JobState_Name(static_cast<v1::JobState>(state)))});
    finished->At({name, "succeeded", ""});
    finished->At({name, "cancelled", "user_request"});
    for (int reason = v1::OUT_OF_MEMORY; reason <= v1::INTERNAL; ++reason)
      finished->At(
          {name, "failed", Lower(v1::StateReason_Name(static_cast<v1::StateReason>(reason)))});
    queue_wait->At({name});
    run_seconds->At({name});
  }
  train_steps = Counters("adamant_train_steps_total", "Optimiser steps", {"dataset_family"}, 6);
  for (const char* reader : kReaders) train_steps->At({reader});
  train_steps->At({"other"});
  attack_samples = Counters("adamant_attack_samples_total", "Samples attacked", {"attack"}, 32);
  attack_successes = Counters("adamant_attack_successes_total", "Samples broken", {"attack"}, 32);
  for (const std::string& attack : options.attacks) {
    attack_samples->At({attack});
    attack_successes->At({attack});
  }
  explain_maps =
      Counters("adamant_explain_maps_total", "Attribution maps computed", {"explainer"}, 13);
  for (const std::string& explainer : options.explainers) explain_maps->At({explainer});
  active = Gauges("adamant_active_job_metric", "Newest value of the job on a slot, NaN when idle",
                  {"slot", "name"}, kMaxSlots * std::size(kActiveNames));
  for (int slot = 0; slot < std::min(options.slots, kMaxSlots); ++slot) {
    for (const char* name : kActiveNames) active->At({absl::StrCat(slot), name}).Set(kIdle);
  }
}

void Metrics::Impl::MakeStoreMetrics() {
  blob_bytes = Counters("adamant_blob_bytes_total", "Bytes of blobs transferred", {"direction"}, 2);
  blob_transfers =
      Counters("adamant_blob_transfers_total", "Transfers of blobs", {"direction", "result"}, 12);
  for (const char* direction : {"upload", "download"}) {
    blob_bytes->At({direction});
    for (const char* result : {"ok", "resumed", "dedup", "mismatch", "aborted"})
      blob_transfers->At({direction, result});
  }
  cas_bytes = Gauge("adamant_cas_bytes", "Bytes of stored blobs");
  cas_objects = Gauge("adamant_cas_objects", "Number of stored blobs");
  watchers = Gauge("adamant_watchers", "Open WatchJob streams");
  events_appended = Counter("adamant_events_appended_total", "Durable events stored");
  events_sent = Counter("adamant_events_sent_total", "Events sent to watchers");
  worker_exits =
      Counters("adamant_worker_exits_total", "Worker processes that ended, by cause", {"cause"}, 6);
  for (const char* cause : {"ok", "error", "signal", "oom", "device", "lost"})
    worker_exits->At({cause});
  workers = Gauges("adamant_workers", "Worker processes", {"state"}, 2);
  workers->At({"busy"});
  workers->At({"idle"});
  draining = Gauge("adamant_draining", "1 while the server drains");
}

void Metrics::Impl::MakeProcessMetrics(const MetricsOptions& options) {
  prometheus::BuildGauge()
      .Name("adamant_build_info")
      .Help("1, labelled with the versions")
      .Register(*registry)
      .Add({{"version", options.version},
            {"commit", options.commit},
            {"libtorch", options.libtorch},
            {"grpc", options.grpc}})
      .Set(1);
  process_cpu = Counter("process_cpu_seconds_total", "User and system CPU time");
  process_gauges[0] = Gauge("process_resident_memory_bytes", "Resident memory");
  process_gauges[1] = Gauge("process_virtual_memory_bytes", "Virtual memory");
  process_gauges[2] = Gauge("process_open_fds", "Open file descriptors");
  process_gauges[3] = Gauge("process_max_fds", "Limit of open file descriptors");
  process_gauges[4] = Gauge("process_start_time_seconds", "Start of the process, Unix time");
}

void Metrics::Impl::RefreshProcess() {
  const ProcessSample sample = SampleProcess();
  process_cpu->Increment(std::max(0.0, sample.cpu_seconds - process_cpu->Value()));
  process_gauges[0]->Set(static_cast<double>(sample.resident_bytes));
  process_gauges[1]->Set(static_cast<double>(sample.virtual_bytes));
  process_gauges[2]->Set(static_cast<double>(sample.open_fds));
  process_gauges[3]->Set(static_cast<double>(sample.max_fds));
  process_gauges[4]->Set(sample.start_time_seconds);
}

void Metrics::Impl::Refresh() {
  absl::MutexLock lock(&mutex);
  if (absl::Now() - sampled < kSampleAge) return;
  sampled = absl::Now();
  RefreshProcess();
  if (!sampler) return;
  const MetricsSample sample = sampler();
  for (const v1::JobKind kind : {v1::TRAIN, v1::ATTACK, v1::EXPLAIN}) {
    for (int i = v1::QUEUED; i <= v1::CANCELLED; ++i) {
      const auto state = static_cast<v1::JobState>(i);
      const auto found = sample.jobs.find({kind, state});
      jobs->At({Lower(v1::JobKind_Name(kind)), Lower(v1::JobState_Name(state))})
          .Set(found == sample.jobs.end() ? 0 : static_cast<double>(found->second));
    }
  }
  cas_bytes->Set(static_cast<double>(sample.cas_bytes));
  cas_objects->Set(static_cast<double>(sample.cas_objects));
  watchers->Set(static_cast<double>(sample.watchers));
  workers->At({"busy"}).Set(static_cast<double>(sample.busy_workers));
  workers->At({"idle"}).Set(static_cast<double>(sample.idle_workers));
  draining->Set(sample.draining ? 1 : 0);
  for (size_t slot = 0; slot < sample.slots.size(); ++slot) {
    for (const char* name : kActiveNames) {
      const auto found = sample.slots[slot].find(name);
      if (prometheus::Gauge* gauge = active->Find({absl::StrCat(slot), name}))
        gauge->Set(found == sample.slots[slot].end() ? kIdle : found->second);
    }
  }
}

Metrics::Metrics(const MetricsOptions& options) : impl_(std::make_unique<Impl>()) {
  impl_->MakeRpcMetrics();
  impl_->MakeJobMetrics(options);
  impl_->MakeStoreMetrics();
  impl_->MakeProcessMetrics(options);
  impl_->refresher = std::make_shared<Refresher>([impl = impl_.get()] { impl->Refresh(); });
}

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
  SetSampler(nullptr);
}

void Metrics::SetSampler(std::function<MetricsSample()> sampler) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->sampler = std::move(sampler);
  impl_->sampled = absl::InfinitePast();
}

std::string Metrics::Text() {
  impl_->Refresh();
  return prometheus::TextSerializer().Serialize(impl_->registry->Collect());
}

void Metrics::RpcStarted(absl::string_view method) {
  const auto found = impl_->rpcs.find(method);
  if (found != impl_->rpcs.end()) found->second.started->Increment();
}

void Metrics::RpcHandled(absl::string_view method, int grpc_code, double seconds) {
  const auto found = impl_->rpcs.find(method);
  if (found == impl_->rpcs.end()) return;
  const RpcMetrics& rpc = found->second;
  const bool known = grpc_code >= 0 && grpc_code < static_cast<int>(std::size(kCodes));
  impl_->rpc_handled
      ->At({rpc.labels[0], rpc.labels[1], rpc.labels[2], known ? kCodes[grpc_code] : "other"})
      .Increment();
  if (rpc.seconds != nullptr) rpc.seconds->Observe(seconds);
}

void Metrics::JobSubmitted(v1::JobKind kind, absl::string_view outcome) {
  if (auto* counter = impl_->submitted->Find({Lower(v1::JobKind_Name(kind)), std::string(outcome)}))
    counter->Increment();
}

void Metrics::JobFinished(v1::JobKind kind, v1::JobState state, v1::StateReason reason) {
  const std::string name = state == v1::SUCCEEDED ? "" : Lower(v1::StateReason_Name(reason));
  impl_->finished->Known({Lower(v1::JobKind_Name(kind)), Lower(v1::JobState_Name(state)), name})
      .Increment();
}

void Metrics::JobWaited(v1::JobKind kind, double seconds) {
  impl_->queue_wait->At({Lower(v1::JobKind_Name(kind))}).Observe(seconds);
}

void Metrics::JobRan(v1::JobKind kind, double seconds) {
  impl_->run_seconds->At({Lower(v1::JobKind_Name(kind))}).Observe(seconds);
}

void Metrics::TrainSteps(absl::string_view dataset_family, int64_t steps) {
  if (steps > 0)
    impl_->train_steps->Known({std::string(dataset_family)}).Increment(static_cast<double>(steps));
}

void Metrics::AttackSamples(absl::string_view attack, int64_t samples, int64_t successes) {
  if (samples > 0)
    impl_->attack_samples->Known({std::string(attack)}).Increment(static_cast<double>(samples));
  if (successes > 0)
    impl_->attack_successes->Known({std::string(attack)}).Increment(static_cast<double>(successes));
}

void Metrics::ExplainMaps(absl::string_view explainer, int64_t maps) {
  if (maps > 0)
    impl_->explain_maps->Known({std::string(explainer)}).Increment(static_cast<double>(maps));
}

void Metrics::BlobBytes(absl::string_view direction, int64_t bytes) {
  if (auto* counter = impl_->blob_bytes->Find({std::string(direction)}))
    counter->Increment(static_cast<double>(bytes));
}

void Metrics::BlobTransfer(absl::string_view direction, absl::string_view result) {
  if (auto* counter = impl_->blob_transfers->Find({std::string(direction), std::string(result)}))
    counter->Increment();
}

void Metrics::EventsAppended(int64_t count) {
  impl_->events_appended->Increment(static_cast<double>(count));
}

void Metrics::EventsSent(int64_t count) {
  impl_->events_sent->Increment(static_cast<double>(count));
}

void Metrics::WorkerExited(absl::string_view cause) {
  if (auto* counter = impl_->worker_exits->Find({std::string(cause)})) counter->Increment();
}

}  // namespace adamant
