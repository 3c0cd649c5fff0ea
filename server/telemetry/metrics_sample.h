// SPDX-License-Identifier: Apache-2.0
// What the metrics endpoint reads at a scrape, as its collectors fill it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "adamant/v1/job.pb.h"
#include "server/telemetry/gpu_monitor.h"

namespace adamant {

struct SlotSample {
  std::string device;  // "cpu", "cuda:0"
  std::string kind;    // of its job: train, attack, explain; empty = none
  bool healthy = true;
  // Newest values of its job: loss, clean_accuracy, robust_accuracy, lr, epoch_fraction; others are
  // ignored.
  std::map<std::string, double> metrics;
};

struct MetricsSample {
  std::map<std::pair<v1::JobKind, v1::JobState>, int64_t> jobs;
  std::map<v1::JobKind, double> oldest_queued;  // Unix time; absent = none waits
  std::map<v1::JobKind, double> last_success;   // Unix time; absent = never
  std::vector<SlotSample> slots;
  std::map<std::string, int64_t> workers;  // by state: starting, busy, idle, service
  int64_t cas_bytes = 0;
  int64_t cas_objects = 0;
  int64_t cas_capacity_bytes = 0;
  int64_t cas_evictions = 0;    // since the start
  int64_t cas_corruptions = 0;  // since the start
  int64_t watchers = 0;
  bool draining = false;
  bool insecure_bind = false;
  std::vector<GpuSample> gpus;
};

// Fills its part of a sample. Must not block on the disk or the network.
using SampleCollector = std::function<absl::Status(MetricsSample&)>;

}  // namespace adamant
