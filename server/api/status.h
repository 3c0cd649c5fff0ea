// SPDX-License-Identifier: Apache-2.0
// The only place where absl::Status and grpc::Status meet, and the makers of the errors of the API.
#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/error_reason.h"
#include "common/plugin_check.h"

namespace adamant {

inline constexpr int kMaxViolations = 20;
inline constexpr size_t kMaxDetailBytes = 4096;

// Code, message and every google.rpc detail. A status without a reason gets the general one of its
// code; the text of an INTERNAL or UNKNOWN error without a reason stays in the server's log.
// UNAVAILABLE and RESOURCE_EXHAUSTED get a RetryInfo when they have none. Details are cut to
// kMaxDetailBytes by dropping the last violations.
grpc::Status ToGrpc(const absl::Status& status);

// The inverse; used by tests and by clients of the C++ library's kind.
absl::Status FromGrpc(const grpc::Status& status);

// INVALID_ARGUMENT with every violation, at most kMaxViolations, then a count. The reason is that
// of the first violation. OK when there is none.
absl::Status ViolationStatus(const std::vector<Violation>& violations);

// One violation as a status.
absl::Status InvalidField(absl::string_view field, absl::string_view reason,
                          absl::string_view description);

// NOT_FOUND with ResourceInfo. `type` is "job", "model", "dataset"; `name` what was asked for.
absl::Status ResourceNotFound(absl::string_view type, absl::string_view name);

// ALREADY_EXISTS with ResourceInfo.
absl::Status ResourceExists(absl::string_view type, absl::string_view name,
                            absl::string_view reason, absl::string_view message);

// FAILED_PRECONDITION with PreconditionFailure: one {type, subject} per entry of `subjects`.
absl::Status Precondition(absl::string_view reason, absl::string_view type,
                          const std::vector<std::string>& subjects, absl::string_view message);

// UNAVAILABLE / DRAINING.
absl::Status DrainingStatus();

// RESOURCE_EXHAUSTED / QUEUE_FULL: too many calls at once.
absl::Status OverloadedStatus();

// `status` with RetryInfo.
absl::Status WithRetryAfter(absl::Status status, absl::Duration delay);

}  // namespace adamant
