// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>

#include "adamant/v1/blob.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

inline constexpr int kMaxOpenUploads = 4;
inline constexpr size_t kMaxChunkBytes = 1 << 20;

// Starts a Write. `open_uploads` counts the uploads that hold a staging file. The call deletes
// itself; the bytes of a broken upload stay staged.
grpc::ServerReadReactor<v1::WriteRequest>* StartUpload(ServiceParts& parts,
                                                       std::atomic<int>& open_uploads,
                                                       grpc::CallbackServerContext* context,
                                                       v1::WriteResponse* response);

}  // namespace adamant
