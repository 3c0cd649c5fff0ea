// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/server_callback.h>

#include "adamant/v1/robustness_service.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

// Starts a WaitJob: answers when the job is terminal, or as it is at the timeout. No thread waits.
// The call deletes itself.
grpc::ServerUnaryReactor* StartWait(ServiceParts& parts, const v1::WaitJobRequest& request,
                                    v1::Job* response);

}  // namespace adamant
