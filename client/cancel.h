// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace grpc {
class ClientContext;
}

namespace adamant {

// Lets another thread end a blocking call of Client: the call then returns CANCELLED. Must outlive
// the calls it was given to. Thread-safe.
class CancelToken {
 public:
  void Cancel();
  bool cancelled() const {
    absl::MutexLock lock(&mutex_);
    return cancelled_;
  }
  // Waits; false when the token was cancelled before `duration` was over.
  bool Sleep(absl::Duration duration) const {
    absl::MutexLock lock(&mutex_);
    return !mutex_.AwaitWithTimeout(absl::Condition(&cancelled_), duration);
  }

  // The call in progress, for the life of this object.
  class Scope {
   public:
    Scope(CancelToken* token, grpc::ClientContext* context) : token_(token) {
      if (token_ != nullptr) token_->Attach(context);
    }
    ~Scope() {
      if (token_ != nullptr) token_->Attach(nullptr);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    CancelToken* const token_;
  };

 private:
  void Attach(grpc::ClientContext* context);

  mutable absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace adamant
