// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/scrape_metrics.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/telemetry/metric_names.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/process_sample.h"

namespace adamant {
namespace {

constexpr absl::Duration kMaxAge = absl::Seconds(1);
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kMaxSlots = 16;
constexpr size_t kMaxGpus = 8;
constexpr size_t kMaxCollectors = 4;
constexpr const char* kActiveNames[] = {"loss", "clean_accuracy", "robust_accuracy", "lr",
                                        "epoch_fraction"};
constexpr const char* kWorkerStates[] = {"starting", "busy", "idle", "service"};

// A counter whose total something else keeps.
void Raise(prometheus::Counter& counter, double total) {
  counter.Increment(std::max(0.0, total - counter.Value()));
}

}  // namespace

ScrapeMetrics::ScrapeMetrics(prometheus::Registry& registry, const MetricsOptions& options)
    : jobs_(MakeGauges(registry, "adamant_jobs", "Jobs in each state", {"kind", "state"}, 30)),
      oldest_queued_(MakeGauges(registry, "adamant_oldest_queued_job_timestamp_seconds",
                                "When the oldest waiting job was queued, NaN when none waits",
                                {"kind"}, 3)),
      last_success_(MakeGauges(registry, "adamant_last_job_success_timestamp_seconds",
                               "When a job last succeeded, 0 when none has", {"kind"}, 3)),
      active_(MakeGauges(registry, "adamant_active_job_metric",
                         "Newest value of the job on a slot, NaN without one", {"slot", "name"},
                         kMaxSlots * std::size(kActiveNames))),
      slot_info_(MakeGauges(registry, "adamant_slot_job_info",
                            "1, labelled with the device of a slot and the kind of its job: train, "
                            "attack, explain, idle or unhealthy",
                            {"slot", "device", "kind"}, kMaxSlots)),
      workers_(MakeGauges(registry, "adamant_workers",
                          "Worker processes: starting and busy with a job, idle spares, and those "
                          "in service of validation, probes and interactive calls",
                          {"state"}, 4)),
      gpu_used_(MakeGauges(registry, "adamant_gpu_memory_used_bytes",
                           "Memory in use, whoever uses it", {"gpu"}, kMaxGpus)),
      gpu_total_(MakeGauges(registry, "adamant_gpu_memory_total_bytes", "Memory of the device",
                            {"gpu"}, kMaxGpus)),
      gpu_utilization_(MakeGauges(registry, "adamant_gpu_utilization_ratio",
                                  "Share of the last second with a kernel running", {"gpu"},
                                  kMaxGpus)),
      gpu_temperature_(MakeGauges(registry, "adamant_gpu_temperature_celsius",
                                  "Temperature of the chip", {"gpu"}, kMaxGpus)),
      gpu_healthy_(MakeGauges(registry, "adamant_gpu_healthy",
                              "1 when the driver answers and jobs are placed on the device",
                              {"gpu"}, kMaxGpus)),
      gpu_energy_(MakeCounters(registry, "adamant_gpu_energy_joules_total",
                               "Energy used since the driver was loaded", {"gpu"}, kMaxGpus)),
      gpu_xid_(MakeCounters(registry, "adamant_gpu_xid_errors_total",
                            "Critical errors that the driver reported", {"gpu"}, kMaxGpus)),
      gpu_slots_(MakeGauges(registry, "adamant_gpu_slots", "Slots on the device by state",
                            {"gpu", "state"}, 3 * kMaxGpus)),
      cas_bytes_(MakeGauge(registry, "adamant_cas_bytes", "Bytes of stored blobs")),
      cas_objects_(MakeGauge(registry, "adamant_cas_objects", "Number of stored blobs")),
      cas_capacity_(MakeGauge(registry, "adamant_cas_capacity_bytes",
                              "Bytes that stored blobs may take in all")),
      cas_evictions_(MakeCounter(registry, "adamant_cas_evictions_total",
                                 "Blobs removed because nobody needed them")),
      cas_corruptions_(MakeCounter(registry, "adamant_cas_corruptions_total",
                                   "Stored blobs whose bytes no longer have their digest")),
      watchers_(MakeGauge(registry, "adamant_watchers", "Open WatchJob streams")),
      draining_(MakeGauge(registry, "adamant_draining", "1 while the server drains")),
      insecure_bind_(MakeGauge(registry, "adamant_insecure_bind",
                               "1 when an address can be reached from outside without TLS or "
                               "authentication")),
      collector_seconds_(MakeGauges(registry, "adamant_collector_duration_seconds",
                                    "Time of the last run of a collector", {"collector"},
                                    kMaxCollectors)),
      collector_errors_(MakeCounters(registry, "adamant_collector_errors_total",
                                     "Failed runs of a collector", {"collector"}, kMaxCollectors)),
      process_cpu_(MakeCounter(registry, "process_cpu_seconds_total", "User and system CPU time")),
      process_resident_(MakeGauge(registry, "process_resident_memory_bytes", "Resident memory")),
      process_virtual_(MakeGauge(registry, "process_virtual_memory_bytes", "Virtual memory")),
      process_open_fds_(MakeGauge(registry, "process_open_fds", "Open file descriptors")),
      process_max_fds_(MakeGauge(registry, "process_max_fds", "Limit of open file descriptors")),
      process_start_(
          MakeGauge(registry, "process_start_time_seconds", "Start of the process, Unix time")) {
  MakeJobs(options.slots);
  for (const char* state : kWorkerStates) workers_->Make({state});
  for (const char* name : {"process", "jobs", "blobs", "gpu"}) {
    collector_seconds_->Make({name});
    collector_errors_->Make({name});
  }
  absl::MutexLock lock(&mutex_);
  collectors_.push_back({"process", [this](MetricsSample&) { return ShowProcess(); }});
}

void ScrapeMetrics::MakeJobs(int slots) {
  for (const v1::JobKind kind : kJobKinds) {
    for (int state = v1::QUEUED; state <= v1::CANCELLED; ++state)
      jobs_->Make({LabelOf(kind), LabelOf(static_cast<v1::JobState>(state))});
    oldest_queued_->Make({LabelOf(kind)}).Set(kNone);
    last_success_->Make({LabelOf(kind)});
  }
  for (int slot = 0; slot < std::min(slots, static_cast<int>(kMaxSlots)); ++slot) {
    for (const char* name : kActiveNames) active_->Make({absl::StrCat(slot), name}).Set(kNone);
  }
}

void ScrapeMetrics::AddCollector(absl::string_view name, SampleCollector collector) {
  absl::MutexLock lock(&mutex_);
  collectors_.push_back({std::string(name), std::move(collector)});
  refreshed_ = absl::InfinitePast();
}

void ScrapeMetrics::RemoveCollectors() {
  absl::MutexLock lock(&mutex_);
  collectors_.clear();
}

void ScrapeMetrics::Refresh() {
  absl::MutexLock lock(&mutex_);
  if (absl::Now() - refreshed_ < kMaxAge) return;
  MetricsSample sample;
  for (const Named& collector : collectors_) {
    const absl::Time start = absl::Now();
    const absl::Status status = collector.collect(sample);
    collector_seconds_->Make({collector.name}).Set(absl::ToDoubleSeconds(absl::Now() - start));
    if (!status.ok()) collector_errors_->Make({collector.name}).Increment();
  }
  ShowJobs(sample);
  ShowSlots(sample.slots);
  ShowGpus(sample);
  Show(sample);
  refreshed_ = absl::Now();
}

void ScrapeMetrics::Show(const MetricsSample& sample) {
  for (const char* state : kWorkerStates) {
    const auto found = sample.workers.find(state);
    workers_->Make({state}).Set(found == sample.workers.end() ? 0
                                                              : static_cast<double>(found->second));
  }
  cas_bytes_.Set(static_cast<double>(sample.cas_bytes));
  cas_objects_.Set(static_cast<double>(sample.cas_objects));
  cas_capacity_.Set(static_cast<double>(sample.cas_capacity_bytes));
  Raise(cas_evictions_, static_cast<double>(sample.cas_evictions));
  Raise(cas_corruptions_, static_cast<double>(sample.cas_corruptions));
  watchers_.Set(static_cast<double>(sample.watchers));
  draining_.Set(sample.draining ? 1 : 0);
  insecure_bind_.Set(sample.insecure_bind ? 1 : 0);
}

void ScrapeMetrics::ShowJobs(const MetricsSample& sample) {
  for (const v1::JobKind kind : kJobKinds) {
    for (int i = v1::QUEUED; i <= v1::CANCELLED; ++i) {
      const auto state = static_cast<v1::JobState>(i);
      const auto found = sample.jobs.find({kind, state});
      jobs_->Make({LabelOf(kind), LabelOf(state)})
          .Set(found == sample.jobs.end() ? 0 : static_cast<double>(found->second));
    }
    const auto oldest = sample.oldest_queued.find(kind);
    oldest_queued_->Make({LabelOf(kind)})
        .Set(oldest == sample.oldest_queued.end() ? kNone : oldest->second);
    const auto last = sample.last_success.find(kind);
    last_success_->Make({LabelOf(kind)}).Set(last == sample.last_success.end() ? 0 : last->second);
  }
}

void ScrapeMetrics::ShowSlots(const std::vector<SlotSample>& slots) {
  for (size_t i = 0; i < std::min(slots.size(), kMaxSlots); ++i) {
    const SlotSample& slot = slots[i];
    for (const char* name : kActiveNames) {
      const auto found = slot.metrics.find(name);
      active_->Make({absl::StrCat(i), name})
          .Set(found == slot.metrics.end() ? kNone : found->second);
    }
    const std::string kind = !slot.kind.empty() ? slot.kind : slot.healthy ? "idle" : "unhealthy";
    const std::vector<std::string> labels{absl::StrCat(i), slot.device, kind};
    if (shown_slots_.size() <= i) shown_slots_.emplace_back();
    if (shown_slots_[i] == labels) continue;
    if (!shown_slots_[i].empty()) slot_info_->Remove(shown_slots_[i]);
    slot_info_->Make(labels).Set(1);
    shown_slots_[i] = labels;
  }
}

void ScrapeMetrics::ShowGpus(const MetricsSample& sample) {
  for (const GpuSample& gpu : sample.gpus) {
    if (gpu.index >= static_cast<int>(kMaxGpus)) continue;
    const std::string name = absl::StrCat(gpu.index);
    int free = 0, busy = 0, unhealthy = 0;
    for (const SlotSample& slot : sample.slots) {
      if (slot.device != absl::StrCat("cuda:", gpu.index)) continue;
      ++(!slot.healthy ? unhealthy : slot.kind.empty() ? free : busy);
    }
    gpu_slots_->Make({name, "free"}).Set(free);
    gpu_slots_->Make({name, "busy"}).Set(busy);
    gpu_slots_->Make({name, "unhealthy"}).Set(unhealthy);
    gpu_healthy_->Make({name}).Set(gpu.readable && unhealthy == 0 ? 1 : 0);
    const double used = static_cast<double>(gpu.memory_used_bytes);
    const double total = static_cast<double>(gpu.memory_total_bytes);
    gpu_used_->Make({name}).Set(gpu.readable ? used : kNone);
    gpu_total_->Make({name}).Set(gpu.readable ? total : kNone);
    gpu_utilization_->Make({name}).Set(gpu.readable ? gpu.utilization_ratio : kNone);
    gpu_temperature_->Make({name}).Set(gpu.readable ? gpu.temperature_celsius : kNone);
    Raise(gpu_energy_->Make({name}), gpu.energy_joules);
    Raise(gpu_xid_->Make({name}), static_cast<double>(gpu.xid_errors));
  }
}

absl::Status ScrapeMetrics::ShowProcess() {
  const ProcessSample sample = SampleProcess();
  Raise(process_cpu_, sample.cpu_seconds);
  process_resident_.Set(static_cast<double>(sample.resident_bytes));
  process_virtual_.Set(static_cast<double>(sample.virtual_bytes));
  process_open_fds_.Set(static_cast<double>(sample.open_fds));
  process_max_fds_.Set(static_cast<double>(sample.max_fds));
  process_start_.Set(sample.start_time_seconds);
  return absl::OkStatus();
}

}  // namespace adamant
