// SPDX-License-Identifier: Apache-2.0
// Spec files in JSON, YAML and text format, and --set.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "google/protobuf/struct.pb.h"

namespace adamant {

// Reads `path` ("-" = standard input) into `message`. The ending chooses the form: .json, .yaml or
// .yml, .textproto; standard input is JSON or YAML. Unknown fields are refused with the nearest
// name; enum values may be lower case; numbers may be quotients such as 8/255.
absl::Status LoadSpec(const std::string& path, google::protobuf::Message& message);

// The same from text; `form` is "json", "yaml" or "textproto".
absl::Status ParseSpec(absl::string_view text, absl::string_view form,
                       google::protobuf::Message& message);

// Applies assignments such as `optimizer.lr=0.1` and `attacks[0].attack.params.steps=40`.
absl::Status ApplySettings(const std::vector<std::string>& settings,
                           google::protobuf::Message& message);

// JSON or YAML text as a value. YAML is a superset of JSON, hence one reader.
absl::StatusOr<google::protobuf::Value> ParseYaml(absl::string_view text);

}  // namespace adamant
