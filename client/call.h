// SPDX-License-Identifier: Apache-2.0
// One unary call. Included by the sources of the library only.
#pragma once

#include <chrono>

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
    return FromGrpcStatus(status);
  }
  return response;
}

}  // namespace adamant
