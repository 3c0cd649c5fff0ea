// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include "server/api/call_gate.h"
#include "server/telemetry/metrics.h"

namespace adamant {

// Lets every call through the gate, counts it and logs one line at its end. Thread-safe.
class CallLogFactory : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  // Both must outlive the server.
  CallLogFactory(Metrics& metrics, CallGate& gate) : metrics_(metrics), gate_(gate) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override;

 private:
  Metrics& metrics_;
  CallGate& gate_;
};

}  // namespace adamant
