// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "server/telemetry/labelled.h"

namespace google::protobuf {
class ServiceDescriptor;
}

namespace adamant {

// What go-grpc-prometheus counts, under its names, for every service of this server including
// health and reflection. A call costs a few increments and no look-up by label. Thread-safe.
class RpcMetrics {
 public:
  explicit RpcMetrics(prometheus::Registry& registry);

  void Started(absl::string_view method);
  void Received(absl::string_view method);
  void Sent(absl::string_view method);
  void Handled(absl::string_view method, int grpc_code, double seconds);

 private:
  static constexpr size_t kCodeCount = 18;  // the codes of gRPC, then "other"

  struct Method {
    std::vector<std::string> labels;  // service, method, type
    prometheus::Counter* started = nullptr;
    prometheus::Gauge* in_flight = nullptr;
    prometheus::Histogram* seconds = nullptr;  // null for streams and long polls
    prometheus::Counter* received = nullptr;   // null for unary calls
    prometheus::Counter* sent = nullptr;
    std::array<std::atomic<prometheus::Counter*>, kCodeCount> handled{};  // made when first needed
  };

  void Add(const std::string& service, const std::string& name, const std::string& type);
  Method* Find(absl::string_view method);

  const Counters started_, handled_, received_, sent_;
  const Histograms seconds_;
  const Gauges in_flight_;
  absl::flat_hash_map<std::string, std::unique_ptr<Method>> methods_;  // constant
};

}  // namespace adamant
