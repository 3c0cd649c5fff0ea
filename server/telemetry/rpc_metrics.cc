// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/rpc_metrics.h"

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"

namespace adamant {
namespace {

const Buckets kSeconds{.0005, .001, .0025, .005, .01, .025, .1, .5, 2.5, 10};
constexpr size_t kMaxMethods = 34;
constexpr size_t kMaxHandled = 200;
constexpr size_t kMaxStreams = 6;
constexpr const char* kServices[] = {"RobustnessService", "BlobService", "ModelService",
                                     "DatasetService", "SystemService"};
constexpr const char* kCodes[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

std::string TypeOf(const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming()) return method.server_streaming() ? "bidi_stream" : "client_stream";
  return method.server_streaming() ? "server_stream" : "unary";
}

std::vector<std::string> Labels() { return {"grpc_service", "grpc_method", "grpc_type"}; }

}  // namespace

RpcMetrics::RpcMetrics(prometheus::Registry& registry)
    : started_(MakeCounters(registry, "grpc_server_started_total", "RPCs started on the server",
                            Labels(), kMaxMethods)),
      handled_(MakeCounters(registry, "grpc_server_handled_total", "RPCs completed, by code",
                            {"grpc_service", "grpc_method", "grpc_type", "grpc_code"},
                            kMaxHandled)),
      received_(MakeCounters(registry, "grpc_server_msg_received_total",
                             "Messages received on streams", Labels(), kMaxStreams)),
      sent_(MakeCounters(registry, "grpc_server_msg_sent_total", "Messages sent on streams",
                         Labels(), kMaxStreams)),
      seconds_(MakeHistograms(registry, "grpc_server_handling_seconds",
                              "Time to answer unary RPCs, without long polls", Labels(),
                              kMaxMethods, kSeconds)),
      in_flight_(MakeGauges(registry, "grpc_server_in_flight",
                            "Open RPCs: each streaming method, and all unary ones together",
                            {"grpc_method"}, kMaxStreams + 1)) {
  for (const char* name : kServices) {
    const google::protobuf::ServiceDescriptor* service =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
            absl::StrCat("adamant.v1.", name));
    for (int i = 0; service != nullptr && i < service->method_count(); ++i)
      Add(service->full_name(), service->method(i)->name(), TypeOf(*service->method(i)));
  }
  // gRPC's own services have no descriptor here.
  Add("grpc.health.v1.Health", "Check", "unary");
  Add("grpc.health.v1.Health", "Watch", "server_stream");
  Add("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", "bidi_stream");
}

void RpcMetrics::Add(const std::string& service, const std::string& name, const std::string& type) {
  auto method = std::make_unique<Method>();
  method->labels = {service, name, type};
  method->started = &started_->Make(method->labels);
  const bool stream = type != "unary";
  // The watches of health and of jobs have names of their own.
  const std::string shown = stream ? (name == "Watch" ? "Health.Watch" : name) : "unary";
  method->in_flight = &in_flight_->Make({shown});
  if (stream) {
    method->received = &received_->Make(method->labels);
    method->sent = &sent_->Make(method->labels);
  } else if (name != "WaitJob" && name != "Check") {
    method->seconds = &seconds_->Make(method->labels);
  }
  method->handled[0] = &handled_->Make({service, name, type, kCodes[0]});
  methods_.emplace(absl::StrCat("/", service, "/", name), std::move(method));
}

RpcMetrics::Method* RpcMetrics::Find(absl::string_view method) {
  const auto found = methods_.find(method);
  return found == methods_.end() ? nullptr : found->second.get();
}

void RpcMetrics::Started(absl::string_view method) {
  Method* const found = Find(method);
  if (found == nullptr) return;
  found->started->Increment();
  found->in_flight->Increment();
}

void RpcMetrics::Received(absl::string_view method) {
  Method* const found = Find(method);
  if (found != nullptr && found->received != nullptr) found->received->Increment();
}

void RpcMetrics::Sent(absl::string_view method) {
  Method* const found = Find(method);
  if (found != nullptr && found->sent != nullptr) found->sent->Increment();
}

void RpcMetrics::Handled(absl::string_view method, int grpc_code, double seconds) {
  Method* const found = Find(method);
  if (found == nullptr) return;
  const size_t code = grpc_code >= 0 && grpc_code < static_cast<int>(std::size(kCodes))
                          ? static_cast<size_t>(grpc_code)
                          : std::size(kCodes);
  prometheus::Counter* counter = found->handled[code];
  if (counter == nullptr) {
    const std::string name = code < std::size(kCodes) ? kCodes[code] : "other";
    counter = &handled_->At({found->labels[0], found->labels[1], found->labels[2], name});
    found->handled[code] = counter;
  }
  counter->Increment();
  found->in_flight->Decrement();
  if (found->seconds != nullptr) found->seconds->Observe(seconds);
}

}  // namespace adamant
