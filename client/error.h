// SPDX-License-Identifier: Apache-2.0
// Errors of the server as absl::Status: code and message, with the details kept as a payload.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/support/status.h"

namespace adamant {

// One field that the server refused.
struct FieldViolation {
  std::string field;  // path in the request, e.g. "attacks[0].attack.params.steps"
  std::string description;
};

// The details of an error. Everything is empty for an error that was not made by the server.
struct ClientError {
  std::string reason;  // ErrorInfo, e.g. "UNKNOWN_PLUGIN"
  std::map<std::string, std::string> metadata;
  std::vector<FieldViolation> violations;  // BadRequest and PreconditionFailure, in order
  std::optional<absl::Duration> retry_after;
};

// The same code and message; the serialised google.rpc.Status becomes a payload.
absl::Status FromGrpcStatus(const grpc::Status& status);

// True when the answer came from a call, not from this process.
bool IsServerError(const absl::Status& status);

ClientError DecodeError(const absl::Status& status);

}  // namespace adamant
