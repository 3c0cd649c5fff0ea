// SPDX-License-Identifier: Apache-2.0
#include "client/error.h"

#include "absl/strings/cord.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace adamant {
namespace {

constexpr char kDetails[] = "type.googleapis.com/google.rpc.Status";

void Decode(const google::protobuf::Any& any, ClientError& error) {
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad_request;
  google::rpc::PreconditionFailure precondition;
  google::rpc::RetryInfo retry;
  if (any.UnpackTo(&info)) {
    error.reason = info.reason();
    error.metadata = {info.metadata().begin(), info.metadata().end()};
  } else if (any.UnpackTo(&bad_request)) {
    for (const auto& violation : bad_request.field_violations()) {
      error.violations.push_back({violation.field(), violation.description()});
    }
  } else if (any.UnpackTo(&precondition)) {
    for (const auto& violation : precondition.violations()) {
      error.violations.push_back({violation.subject(), violation.description()});
    }
  } else if (any.UnpackTo(&retry)) {
    error.retry_after = absl::Seconds(retry.retry_delay().seconds()) +
                        absl::Nanoseconds(retry.retry_delay().nanos());
  }
}

}  // namespace

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  result.SetPayload(kDetails, absl::Cord(status.error_details()));
  return result;
}

bool IsServerError(const absl::Status& status) { return status.GetPayload(kDetails).has_value(); }

ClientError DecodeError(const absl::Status& status) {
  ClientError error;
  const auto payload = status.GetPayload(kDetails);
  google::rpc::Status details;
  if (!payload.has_value() || !details.ParseFromString(std::string(*payload))) return error;
  for (const google::protobuf::Any& any : details.details()) Decode(any, error);
  return error;
}

}  // namespace adamant
