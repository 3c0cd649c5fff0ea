// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/api/service_parts.h"
#include "server/blobs/blob_store.h"

namespace adamant {

inline constexpr int kMaxOpenUploads = 4;  // of one tenant
inline constexpr int64_t kMaxChunkBytes = 1 << 20;

// The Write calls that hold a staging file. Thread-safe.
class OpenUploads {
 public:
  // Ends the call early: OK when its blob is complete. Must not block.
  using End = std::function<void(const absl::Status&)>;

  // Ends an earlier call of the same upload: its client has come back. RESOURCE_EXHAUSTED /
  // QUOTA_UPLOADS when the tenant has kMaxOpenUploads. Returns a number for the other functions.
  absl::StatusOr<int64_t> Add(const UploadKey& key, End end);
  void Remove(int64_t number);

  // Ends the tenant's other uploads of that blob.
  void Complete(int64_t number);

 private:
  struct Call {
    UploadKey key;
    End end;
  };

  absl::Mutex mutex_;
  int64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, Call> calls_ ABSL_GUARDED_BY(mutex_);
};

// Starts a Write, which receives v1::WriteRequest messages as bytes. `open_uploads` outlives it.
// The call deletes itself; the bytes of a broken upload stay staged.
grpc::ServerReadReactor<grpc::ByteBuffer>* StartUpload(ServiceParts& parts,
                                                       OpenUploads& open_uploads,
                                                       grpc::CallbackServerContext* context,
                                                       grpc::ByteBuffer* response);

}  // namespace adamant
