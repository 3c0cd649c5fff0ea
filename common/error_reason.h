// SPDX-License-Identifier: Apache-2.0
// The machine-readable reason of an error. It travels inside absl::Status as a google.rpc.ErrorInfo
// payload, so that any layer may state it and the API passes it on unchanged.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "google/rpc/status.pb.h"

namespace adamant {

inline constexpr absl::string_view kErrorDomain = "adamant.v1";

// Names and values that appear in the message, e.g. {"state", "RUNNING"}.
using ErrorMetadata = std::vector<std::pair<std::string, std::string>>;

// `status` with the reason, UPPER_SNAKE, e.g. "JOB_NOT_FOUND". An OK status is returned unchanged.
absl::Status WithReason(absl::Status status, absl::string_view reason,
                        const ErrorMetadata& metadata = {});

// The reason, or "" when none was given.
std::string ReasonOf(const absl::Status& status);

// `status` with one more google.rpc detail message (BadRequest, RetryInfo, ...), replacing an
// earlier one of the same type.
absl::Status WithDetail(absl::Status status, const google::protobuf::Message& detail);

// Code, message and details as a message, for Job.error and worker frames; and back.
google::rpc::Status ToRpcStatus(const absl::Status& status);
absl::Status FromRpcStatus(const google::rpc::Status& status);

}  // namespace adamant
