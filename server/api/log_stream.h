// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/server_callback.h>

#include "adamant/v1/robustness_service.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

// Starts a ReadLog: bytes from an offset in chunks of 64 KiB; with `follow` until the job is
// terminal and all is sent. Deletes itself when the call is over.
grpc::ServerWriteReactor<v1::ReadLogResponse>* StartReadLog(ServiceParts& parts,
                                                            const v1::ReadLogRequest& request);

}  // namespace adamant
