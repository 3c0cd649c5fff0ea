// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "adamant/v1/robustness_service.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

class WatchStream;

// Opens watches, up to a limit. When the hub goes away they send GOING_AWAY and end with
// UNAVAILABLE / DRAINING. Must outlive its streams. Thread-safe.
class WatchStreams {
 public:
  explicit WatchStreams(ServiceParts& parts) : parts_(parts) {}

  // Starts one; it deletes itself when the call is over. Ends at once with RESOURCE_EXHAUSTED /
  // QUOTA_WATCHERS when there are too many. Messages are serialised v1::JobEvents, which watchers
  // of one job share.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Open(grpc::CallbackServerContext* context,
                                                   const v1::WatchJobRequest& request);

 private:
  friend class WatchStream;
  absl::Status Admit() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remove();

  ServiceParts& parts_;
  absl::Mutex mutex_;
  int open_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace adamant
