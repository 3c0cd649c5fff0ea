// SPDX-License-Identifier: Apache-2.0
#include "common/error_reason.h"

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace adamant {
namespace {

constexpr absl::string_view kUrlPrefix = "type.googleapis.com/";

std::string UrlOf(const google::protobuf::Message& detail) {
  return absl::StrCat(kUrlPrefix, detail.GetTypeName());
}

}  // namespace

absl::Status WithReason(absl::Status status, absl::string_view reason,
                        const ErrorMetadata& metadata) {
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(reason));
  info.set_domain(std::string(kErrorDomain));
  for (const auto& [name, value] : metadata) (*info.mutable_metadata())[name] = value;
  return WithDetail(std::move(status), info);
}

std::string ReasonOf(const absl::Status& status) {
  google::rpc::ErrorInfo info;
  const absl::optional<absl::Cord> payload = status.GetPayload(UrlOf(info));
  if (!payload.has_value() || !info.ParseFromString(std::string(*payload))) return "";
  return info.reason();
}

absl::Status WithDetail(absl::Status status, const google::protobuf::Message& detail) {
  status.SetPayload(UrlOf(detail), absl::Cord(detail.SerializeAsString()));
  return status;
}

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status message;
  message.set_code(static_cast<int>(status.code()));
  message.set_message(std::string(status.message()));
  status.ForEachPayload([&message](absl::string_view url, const absl::Cord& payload) {
    if (!absl::StartsWith(url, kUrlPrefix)) return;
    google::protobuf::Any& detail = *message.add_details();
    detail.set_type_url(std::string(url));
    detail.set_value(std::string(payload));
  });
  return message;
}

absl::Status FromRpcStatus(const google::rpc::Status& status) {
  absl::Status result(static_cast<absl::StatusCode>(status.code()), status.message());
  for (const google::protobuf::Any& detail : status.details())
    result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  return result;
}

}  // namespace adamant
