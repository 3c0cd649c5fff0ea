// SPDX-License-Identifier: Apache-2.0
// What goes to stdout: tables for people, a JSON envelope or JSON lines for programs.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace adamant {

enum class OutputFormat { kTable, kWide, kJson, kJsonLines, kName };

absl::StatusOr<OutputFormat> ParseOutputFormat(absl::string_view text);

// One line of JSON with the field names of the proto; fields that are 0 are printed.
std::string MessageJson(const google::protobuf::Message& message);

// `text` as a JSON string, with quotes.
std::string JsonString(absl::string_view text);

// {schema_version, status, exit_code, error_code, data}; `data` is JSON. A failed status adds
// `message`, the last line of a stream `terminal`.
std::string Envelope(const absl::Status& status, int exit_code, absl::string_view data,
                     bool terminal = false);

}  // namespace adamant
