// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server_context.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace adamant {

// What the server keeps about one call beside gRPC's own state. Every call of the services of
// adamant.v1 has one; handlers reach it with CallOf. Written by the call's own hooks and handler,
// one after the other.
struct CallContext : public grpc::CallbackServerContext {
  // Not OK: the call must end with this status and do nothing. Set before the handler runs.
  absl::Status admission;
  std::string request_id;  // of a submit, for the log
  int64_t bytes_in = 0;
  int64_t bytes_out = 0;
};

// Keeps gRPC's part of a call alive, so that any thread may end it at any time. Thread-safe.
class CallHandle {
 public:
  explicit CallHandle(grpc::ServerContextBase& context);
  ~CallHandle();
  CallHandle(const CallHandle&) = delete;
  CallHandle& operator=(const CallHandle&) = delete;

  // Ends the call at once with code and message; details do not fit. For a call whose own status
  // would not get through because the client does not read.
  void Cancel(const absl::Status& status) const;

 private:
  grpc_call* const call_;
};

// For handlers of our own services.
inline CallContext& CallOf(grpc::CallbackServerContext* context) {
  return *static_cast<CallContext*>(context);
}

// Makes gRPC create a CallContext for each call of the callback API, and plain contexts for calls
// of methods that do not exist: gRPC gives these back through Release as well.
class CallContexts : public grpc::ContextAllocator {
 public:
  grpc::CallbackServerContext* NewCallbackServerContext() override { return new CallContext; }
  grpc::GenericCallbackServerContext* NewGenericCallbackServerContext() override {
    return new grpc::GenericCallbackServerContext;
  }
  void Release(grpc::CallbackServerContext* context) override { delete context; }
  void Release(grpc::GenericCallbackServerContext* context) override { delete context; }
};

}  // namespace adamant
