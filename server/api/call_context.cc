// SPDX-License-Identifier: Apache-2.0
#include "server/api/call_context.h"

#include <grpc/grpc.h>

namespace adamant {

CallHandle::CallHandle(grpc::ServerContextBase& context) : call_(context.c_call()) {
  grpc_call_ref(call_);
}

CallHandle::~CallHandle() { grpc_call_unref(call_); }

void CallHandle::Cancel(const absl::Status& status) const {
  const std::string message(status.message());
  grpc_call_cancel_with_status(call_, static_cast<grpc_status_code>(status.code()), message.c_str(),
                               nullptr);
}

}  // namespace adamant
