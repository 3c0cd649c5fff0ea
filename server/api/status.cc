// SPDX-License-Identifier: Apache-2.0
#include "server/api/status.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace adamant {
namespace {

constexpr size_t kMaxMessageBytes = 1024;
constexpr size_t kMaxDescriptionBytes = 512;
constexpr size_t kMaxNameBytes = 200;
constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr char kResourceInfoUrl[] = "type.googleapis.com/google.rpc.ResourceInfo";
constexpr char kRetryInfoUrl[] = "type.googleapis.com/google.rpc.RetryInfo";
constexpr absl::Duration kRetryDelay = absl::Seconds(5);

bool IsTemporary(absl::StatusCode code) {
  return code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kResourceExhausted;
}

// The reason of a status that states none.
absl::string_view GeneralReason(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kCancelled:
      return "CALL_CANCELLED";
    case absl::StatusCode::kInvalidArgument:
      return "INVALID_SPEC";
    case absl::StatusCode::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case absl::StatusCode::kNotFound:
      return "NOT_FOUND";
    case absl::StatusCode::kAlreadyExists:
      return "ID_TAKEN";
    case absl::StatusCode::kPermissionDenied:
      return "ROLE_DENIED";
    case absl::StatusCode::kResourceExhausted:
      return "STORAGE_FULL";
    case absl::StatusCode::kFailedPrecondition:
      return "WRONG_STATE";
    case absl::StatusCode::kUnimplemented:
      return "NOT_SERVED";
    case absl::StatusCode::kUnavailable:
      return "STORE_UNAVAILABLE";
    case absl::StatusCode::kDataLoss:
      return "BLOB_CORRUPT";
    default:
      return "INTERNAL";
  }
}

// At most `limit` bytes of `text`, never half a UTF-8 character.
std::string Cut(absl::string_view text, size_t limit) {
  if (text.size() <= limit) return std::string(text);
  size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), "...");
}

// The singular of a resource name's collection: "model" for `models/net`.
std::string ResourceType(absl::string_view name) {
  for (const absl::string_view type : {"job", "model", "dataset", "blob"}) {
    if (absl::StartsWith(name, absl::StrCat(type, "s/"))) return std::string(type);
  }
  return "resource";
}

// What a client wrote may be long: cuts it, and names the resource of a NOT_FOUND or
// ALREADY_EXISTS, which layers below state as metadata only.
absl::Status Complete(absl::Status status) {
  google::rpc::ErrorInfo info;
  const absl::optional<absl::Cord> payload = status.GetPayload(kErrorInfoUrl);
  if (!payload.has_value() || !info.ParseFromString(std::string(*payload))) return status;
  google::rpc::ResourceInfo resource;
  for (auto& [key, value] : *info.mutable_metadata()) {
    value = Cut(value, kMaxNameBytes);
    if (key == "name" || key == "job" || key == "blob") resource.set_resource_name(value);
  }
  status = WithDetail(std::move(status), info);
  const bool about_resource = status.code() == absl::StatusCode::kNotFound ||
                              status.code() == absl::StatusCode::kAlreadyExists;
  if (!about_resource || resource.resource_name().empty() ||
      status.GetPayload(kResourceInfoUrl).has_value()) {
    return status;
  }
  resource.set_resource_type(ResourceType(resource.resource_name()));
  return WithDetail(std::move(status), resource);
}

// Drops violations from the end of a detail until the whole fits.
template <typename List, typename Entries>
void FitList(google::rpc::Status& message, google::protobuf::Any& detail, Entries entries) {
  List list;
  if (!detail.UnpackTo(&list)) return;
  while (message.ByteSizeLong() > kMaxDetailBytes && entries(list)->size() > 1) {
    entries(list)->RemoveLast();
    detail.PackFrom(list);
  }
}

void FitDetails(google::rpc::Status& message) {
  for (google::protobuf::Any& detail : *message.mutable_details()) {
    FitList<google::rpc::BadRequest>(message, detail,
                                     [](auto& bad) { return bad.mutable_field_violations(); });
    FitList<google::rpc::PreconditionFailure>(
        message, detail, [](auto& failure) { return failure.mutable_violations(); });
  }
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  absl::Status full = status;
  if (ReasonOf(status).empty()) {
    const bool secret =
        status.code() == absl::StatusCode::kInternal || status.code() == absl::StatusCode::kUnknown;
    if (secret) full = absl::InternalError("internal error; the server's log tells more");
    full = WithReason(full, GeneralReason(full.code()));
  }
  full = Complete(std::move(full));
  if (IsTemporary(full.code()) && !full.GetPayload(kRetryInfoUrl).has_value())
    full = WithRetryAfter(std::move(full), kRetryDelay);
  google::rpc::Status message = ToRpcStatus(full);
  message.set_message(Cut(full.message(), kMaxMessageBytes));
  FitDetails(message);
  return grpc::Status(static_cast<grpc::StatusCode>(full.code()), message.message(),
                      message.SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  google::rpc::Status message;
  if (!status.error_details().empty() && message.ParseFromString(status.error_details()) &&
      message.code() == static_cast<int>(status.error_code())) {
    return FromRpcStatus(message);
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

absl::Status ViolationStatus(const std::vector<Violation>& violations) {
  if (violations.empty()) return absl::OkStatus();
  google::rpc::BadRequest bad;
  std::string text;
  for (const Violation& violation : violations) {
    const std::string description = Cut(violation.description, kMaxDescriptionBytes);
    if (bad.field_violations_size() < kMaxViolations) {
      auto& entry = *bad.add_field_violations();
      entry.set_field(Cut(violation.field, 256));
      entry.set_description(description);
    }
    if (bad.field_violations_size() <= 3 && text.size() < kMaxMessageBytes / 2)
      absl::StrAppend(&text, text.empty() ? "" : "; ", violation.field, ": ", description);
  }
  if (violations.size() > 1) absl::StrAppend(&text, " (", violations.size(), " problems in all)");
  absl::Status status = WithReason(absl::InvalidArgumentError(text), violations.front().reason,
                                   {{"field", Cut(violations.front().field, 256)},
                                    {"violations", absl::StrCat(violations.size())}});
  return WithDetail(std::move(status), bad);
}

absl::Status InvalidField(absl::string_view field, absl::string_view reason,
                          absl::string_view description) {
  return ViolationStatus({{std::string(field), std::string(reason), std::string(description)}});
}

absl::Status ResourceNotFound(absl::string_view type, absl::string_view name) {
  const std::string shown = Cut(name, kMaxNameBytes);
  google::rpc::ResourceInfo resource;
  resource.set_resource_type(std::string(type));
  resource.set_resource_name(shown);
  std::string reason = absl::StrCat(type, "_NOT_FOUND");
  std::transform(reason.begin(), reason.end(), reason.begin(), ::toupper);
  absl::Status status = WithReason(
      absl::NotFoundError(absl::StrCat("there is no ", type, " \"", shown, "\"; list what exists")),
      reason, {{"name", shown}});
  return WithDetail(std::move(status), resource);
}

absl::Status ResourceExists(absl::string_view type, absl::string_view name,
                            absl::string_view reason, absl::string_view message) {
  google::rpc::ResourceInfo resource;
  resource.set_resource_type(std::string(type));
  resource.set_resource_name(Cut(name, kMaxNameBytes));
  absl::Status status =
      WithReason(absl::AlreadyExistsError(message), reason, {{"name", resource.resource_name()}});
  return WithDetail(std::move(status), resource);
}

absl::Status Precondition(absl::string_view reason, absl::string_view type,
                          const std::vector<std::string>& subjects, absl::string_view message) {
  google::rpc::PreconditionFailure failure;
  for (const std::string& subject : subjects) {
    if (failure.violations_size() == kMaxViolations) break;
    auto& violation = *failure.add_violations();
    violation.set_type(std::string(type));
    violation.set_subject(Cut(subject, kMaxNameBytes));
    violation.set_description(Cut(message, kMaxDescriptionBytes));
  }
  absl::Status status = absl::FailedPreconditionError(message);
  if (!subjects.empty()) {
    status = WithReason(status, reason, {{"subject", Cut(subjects.front(), kMaxNameBytes)}});
  } else {
    status = WithReason(status, reason);
  }
  return WithDetail(std::move(status), failure);
}

absl::Status DrainingStatus() {
  return WithReason(absl::UnavailableError("the server is shutting down; try again later"),
                    "DRAINING");
}

absl::Status OverloadedStatus() {
  return WithReason(absl::ResourceExhaustedError("too many calls at once; try again later"),
                    "QUEUE_FULL");
}

absl::Status WithRetryAfter(absl::Status status, absl::Duration delay) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(delay));
  retry.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(delay % absl::Seconds(1))));
  return WithDetail(std::move(status), retry);
}

}  // namespace adamant
