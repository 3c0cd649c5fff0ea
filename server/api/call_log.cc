// SPDX-License-Identifier: Apache-2.0
#include "server/api/call_log.h"

#include <grpcpp/server_context.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "server/api/service_parts.h"
#include "server/api/status.h"
#include "server/telemetry/log.h"

namespace adamant {
namespace {

using grpc::experimental::InterceptionHookPoints;

// One call. gRPC owns it and runs its hooks one after the other.
class CallLog : public grpc::experimental::Interceptor {
 public:
  CallLog(grpc::experimental::ServerRpcInfo* info, Metrics& metrics)
      : info_(info), metrics_(metrics), started_(absl::Now()) {
    metrics_.RpcStarted(info_->method());
  }

  // A call that never sent a status has lost its client.
  ~CallLog() override {
    if (!ended_) Count(grpc::StatusCode::CANCELLED);
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE) &&
        methods->GetRecvMessage() != nullptr)
      metrics_.RpcReceived(info_->method());
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE))
      metrics_.RpcSent(info_->method());
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS))
      End(methods->GetSendStatus());
    methods->Proceed();
  }

 private:
  double Count(grpc::StatusCode code) {
    const double seconds = absl::ToDoubleSeconds(absl::Now() - started_);
    metrics_.RpcHandled(info_->method(), code, seconds);
    ended_ = true;
    return seconds;
  }

  void End(const grpc::Status& status) {
    const double seconds = Count(status.error_code());
    const absl::string_view method = info_->method();
    const bool quiet = absl::StartsWith(method, "/grpc.");  // health, reflection
    const bool bad = status.error_code() == grpc::StatusCode::INTERNAL ||
                     status.error_code() == grpc::StatusCode::UNKNOWN ||
                     status.error_code() == grpc::StatusCode::DATA_LOSS;
    const LogLevel level = bad ? LogLevel::kError : quiet ? LogLevel::kDebug : LogLevel::kInfo;
    const absl::Status error = FromGrpc(status);
    if (!error.ok()) metrics_.RpcFailed(info_->method(), ReasonOf(error));
    Log(level, "rpc", status.ok() ? "ok" : status.error_message(),
        {{"method", method},
         {"peer", info_->server_context()->peer()},
         {"tenant", kLocalTenant},
         {"code", absl::StatusCodeToString(error.code())},
         {"reason", ReasonOf(error)},
         {"seconds", seconds}});
  }

  grpc::experimental::ServerRpcInfo* const info_;
  Metrics& metrics_;
  const absl::Time started_;
  bool ended_ = false;
};

}  // namespace

grpc::experimental::Interceptor* CallLogFactory::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo* info) {
  return new CallLog(info, metrics_);
}

}  // namespace adamant
