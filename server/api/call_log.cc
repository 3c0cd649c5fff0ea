// SPDX-License-Identifier: Apache-2.0
#include "server/api/call_log.h"

#include <google/protobuf/message_lite.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "server/api/call_context.h"
#include "server/api/service_parts.h"
#include "server/api/status.h"
#include "server/telemetry/log.h"

namespace adamant {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

constexpr int64_t kCallBytes = 16 << 10;  // of a call beside its messages
constexpr int64_t kChunkBytes = 1 << 20;  // of a call that receives a stream
constexpr size_t kTraceIdAt = 3;          // "00-<trace id of 32>-<span id>-01"
constexpr size_t kTraceIdLength = 32;

// Not health and reflection, which gRPC serves in other ways.
bool IsOurs(absl::string_view method) { return absl::StartsWith(method, "/adamant."); }

bool IsUnary(const ServerRpcInfo& info) { return info.type() == ServerRpcInfo::Type::UNARY; }

bool ReceivesStream(const ServerRpcInfo& info) {
  return info.type() == ServerRpcInfo::Type::CLIENT_STREAMING ||
         info.type() == ServerRpcInfo::Type::BIDI_STREAMING;
}

// These two have a limit of their own.
bool HasOwnCap(absl::string_view method) {
  return absl::EndsWith(method, "/WaitJob") || absl::EndsWith(method, "/Explain");
}

// These are served as bytes.
bool ReceivesBytes(absl::string_view method) {
  return absl::EndsWith(method, "/WatchJob") || absl::EndsWith(method, "/GetJob") ||
         absl::EndsWith(method, "/Write");
}

std::string TraceId(const grpc::ServerContextBase& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("traceparent");
  if (found == metadata.end() || found->second.size() < kTraceIdAt + kTraceIdLength) return "";
  return std::string(found->second.data() + kTraceIdAt, kTraceIdLength);
}

// One call. gRPC owns it and runs its hooks one after the other.
class CallLog : public grpc::experimental::Interceptor {
 public:
  CallLog(ServerRpcInfo* info, Metrics& metrics, CallGate& gate)
      : info_(info),
        metrics_(metrics),
        gate_(gate),
        call_(IsOurs(info->method()) ? dynamic_cast<CallContext*>(info->server_context())
                                     : nullptr),
        started_(absl::Now()),
        peer_(info->server_context()->peer()) {
    metrics_.RpcStarted(info_->method());
    if (call_ != nullptr) Begin();
  }

  // A call that never sent a status has lost its client.
  ~CallLog() override {
    if (!ended_) Count(absl::StatusCode::kCancelled);
    if (entry_.has_value()) gate_.Leave(*entry_);
    gate_.Release(reserved_bytes_);
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE) &&
        methods->GetRecvMessage() != nullptr) {
      metrics_.RpcReceived(info_->method());
      if (call_ != nullptr) Received(methods->GetRecvMessage());
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      metrics_.RpcSent(info_->method());
      if (call_ != nullptr)
        call_->bytes_out += static_cast<int64_t>(methods->GetSerializedSendMessage()->Length());
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS))
      End(methods->GetSendStatus());
    methods->Proceed();
  }

 private:
  void Begin() {
    call_->admission = gate_.Start(peer_, started_);
    Reserve(kCallBytes + (ReceivesStream(*info_) ? kChunkBytes : 0));
    const bool no_deadline = call_->deadline() == std::chrono::system_clock::time_point::max();
    entry_ = gate_.Enter(call_->c_call(),
                         no_deadline && IsUnary(*info_) && !HasOwnCap(info_->method()), started_);
  }

  void Reserve(int64_t bytes) {
    if (!call_->admission.ok()) return;
    call_->admission = gate_.Reserve(bytes);
    if (call_->admission.ok()) reserved_bytes_ += bytes;
  }

  void Received(const void* message) {
    const int64_t bytes =
        ReceivesBytes(info_->method())
            ? static_cast<int64_t>(static_cast<const grpc::ByteBuffer*>(message)->Length())
            : static_cast<int64_t>(
                  static_cast<const google::protobuf::MessageLite*>(message)->ByteSizeLong());
    call_->bytes_in += bytes;
    if (!ReceivesStream(*info_)) Reserve(bytes);
  }

  void End(const grpc::Status& status) {
    const absl::Status cut = entry_.has_value() ? gate_.Uncap(*entry_) : absl::OkStatus();
    const absl::Status seen = cut.ok() ? FromGrpc(status) : cut;
    const double seconds = Count(seen.code());
    if (!seen.ok()) metrics_.RpcFailed(info_->method(), ReasonOf(seen));
    Write(seen, seconds);
  }

  double Count(absl::StatusCode code) {
    const double seconds = absl::ToDoubleSeconds(absl::Now() - started_);
    metrics_.RpcHandled(info_->method(), static_cast<int>(code), seconds);
    ended_ = true;
    return seconds;
  }

  void Write(const absl::Status& status, double seconds) const {
    const absl::string_view method = info_->method();
    const bool bad =
        absl::IsInternal(status) || absl::IsUnknown(status) || absl::IsDataLoss(status);
    const LogLevel level = !IsOurs(method) ? LogLevel::kDebug
                           : bad           ? LogLevel::kError
                                           : LogLevel::kInfo;
    Log(level, "rpc", status.ok() ? "ok" : status.message(),
        {{"method", method},
         {"peer", peer_},
         {"tenant", kLocalTenant},
         {"subject", kLocalOwner},
         {"code", absl::StatusCodeToString(status.code())},
         {"reason", ReasonOf(status)},
         {"seconds", seconds},
         {"bytes_in", call_ == nullptr ? 0 : call_->bytes_in},
         {"bytes_out", call_ == nullptr ? 0 : call_->bytes_out},
         {"request_id", call_ == nullptr ? "" : call_->request_id},
         {"trace_id", TraceId(*info_->server_context())}});
  }

  ServerRpcInfo* const info_;
  Metrics& metrics_;
  CallGate& gate_;
  CallContext* const call_;  // null for calls of other services; gone before this object
  const absl::Time started_;
  const std::string peer_;
  std::optional<CallGate::Entry> entry_;
  int64_t reserved_bytes_ = 0;  // of the memory ledger
  bool ended_ = false;
};

}  // namespace

grpc::experimental::Interceptor* CallLogFactory::CreateServerInterceptor(ServerRpcInfo* info) {
  return new CallLog(info, metrics_, gate_);
}

}  // namespace adamant
