// SPDX-License-Identifier: Apache-2.0
#include "client/cli/output.h"

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "client/cli/render_error.h"
#include "common/nearest.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"

namespace adamant {

absl::StatusOr<OutputFormat> ParseOutputFormat(absl::string_view text) {
  if (text == "table") return OutputFormat::kTable;
  if (text == "wide") return OutputFormat::kWide;
  if (text == "json") return OutputFormat::kJson;
  if (text == "jsonl") return OutputFormat::kJsonLines;
  if (text == "name") return OutputFormat::kName;
  return UsageError(
      UnknownNameMessage("output format", text, {"table", "wide", "json", "jsonl", "name"}));
}

std::string MessageJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  // A message of a newer server can hold values that have no JSON form, e.g. an unknown Any.
  return status.ok() ? json : absl::StrCat("{\"unprintable\":", JsonString(status.ToString()), "}");
}

std::string JsonString(absl::string_view text) {
  google::protobuf::Value value;
  value.set_string_value(std::string(text));
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(value, &json);
  return status.ok() ? json : "\"\"";
}

std::string Envelope(const absl::Status& status, int exit_code, absl::string_view data,
                     bool terminal) {
  std::string json = absl::StrCat(
      "{\"schema_version\":1,\"status\":\"", exit_code == kExitOk ? "ok" : "error",
      "\",\"exit_code\":", exit_code, ",\"error_code\":", JsonString(ErrorCodeText(status)));
  if (!status.ok()) {
    absl::StrAppend(
        &json, ",\"message\":",
        JsonString(absl::string_view(status.message().data(), status.message().size())));
  }
  return absl::StrCat(json, ",\"data\":", data.empty() ? "null" : data,
                      terminal ? ",\"terminal\":true" : "", "}\n");
}

}  // namespace adamant
