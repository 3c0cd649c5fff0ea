// SPDX-License-Identifier: Apache-2.0
#include "client/cancel.h"

#include "grpcpp/client_context.h"

namespace adamant {

void CancelToken::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  if (context_ != nullptr) context_->TryCancel();
}

void CancelToken::Attach(grpc::ClientContext* context) {
  absl::MutexLock lock(&mutex_);
  context_ = context;
  if (cancelled_ && context_ != nullptr) context_->TryCancel();
}

}  // namespace adamant
