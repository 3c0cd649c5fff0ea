// SPDX-License-Identifier: Apache-2.0
// One unary call. Included by the sources of the library only.
#pragma once

#include <chrono>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cancel.h"
#include "client/channel.h"
#include "client/error.h"
#include "grpcpp/client_context.h"

namespace adamant {

inline void SetDeadline(grpc::ClientContext& context, absl::Duration deadline) {
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(deadline));
}

// A server that closes its connections cancels the calls that meet it: for the caller, who did not
// ask for that, it is unavailable.
inline absl::Status CallError(const grpc::Status& status, const CancelToken* cancel) {
  const bool asked = cancel != nullptr && cancel->cancelled();
  if (asked || status.error_code() != grpc::StatusCode::CANCELLED) return FromGrpcStatus(status);
  return FromGrpcStatus({grpc::StatusCode::UNAVAILABLE,
                         "the server ended the call; it may be going away",
                         status.error_details()});
}

template <typename Response, typename Stub, typename Request>
absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              Stub& stub, const CallHeaders& headers, const Request& request,
                              absl::Duration deadline, CancelToken* cancel = nullptr) {
  grpc::ClientContext context;
  SetDeadline(context, deadline);
  headers.AddTo(context);
  const CancelToken::Scope scope(cancel, &context);
  Response response;
  if (grpc::Status status = (stub.*method)(&context, request, &response); !status.ok()) {
    return CallError(status, cancel);
  }
  return response;
}

}  // namespace adamant
