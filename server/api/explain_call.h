// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "adamant/v1/explain.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

// RobustnessService.Explain: checks the request, has a leased worker answer it, stores nothing.
grpc::ServerUnaryReactor* StartExplain(ServiceParts& parts, grpc::CallbackServerContext* context,
                                       const v1::ExplainRequest& request,
                                       v1::ExplainResponse* response);

}  // namespace adamant
