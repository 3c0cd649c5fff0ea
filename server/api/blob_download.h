// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/server_callback.h>

#include "adamant/v1/blob.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

// Starts a Read: chunks of 256 KiB, read on the disk pool. The call deletes itself.
grpc::ServerWriteReactor<v1::ReadResponse>* StartDownload(ServiceParts& parts,
                                                          const v1::ReadRequest& request);

}  // namespace adamant
