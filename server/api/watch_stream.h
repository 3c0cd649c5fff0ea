// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "adamant/v1/robustness_service.pb.h"
#include "server/api/service_parts.h"

namespace adamant {

class WatchStream;

// The open watches, so that they can be counted and a drain can say goodbye to them. Must outlive
// its streams. Thread-safe.
class WatchStreams {
 public:
  explicit WatchStreams(ServiceParts& parts) : parts_(parts) {}

  // Starts one; it deletes itself when the call is over. Ends at once with RESOURCE_EXHAUSTED /
  // QUOTA_WATCHERS when there are too many. Messages are serialised v1::JobEvents, which watchers
  // of one job share.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Open(grpc::CallbackServerContext* context,
                                                   const v1::WatchJobRequest& request);

  // Sends GOING_AWAY to every watcher, then ends the streams with UNAVAILABLE / DRAINING.
  void GoAway();

 private:
  friend class WatchStream;
  absl::Status Admit() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remove(WatchStream* stream);

  ServiceParts& parts_;
  absl::Mutex mutex_;
  bool going_away_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<WatchStream*> open_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace adamant
