// SPDX-License-Identifier: Apache-2.0
#include "client/cli/spec_file.h"

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <iostream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/cli/exit_code.h"
#include "client/cli/params.h"
#include "client/cli/spec_check.h"
#include "client/cli/spec_upload.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/json_util.h"

namespace adamant {
namespace {

using google::protobuf::Message;
using google::protobuf::Value;

constexpr int kMaxDepth = 64;

Value TextValue(const std::string& text) {
  Value value;
  value.set_string_value(text);
  return value;
}

// A quotient stays a text until the field it stands in is known: an epsilon keeps what was written.
Value ParseSpecScalar(const std::string& text) {
  Value value = ParseValue(text);
  return value.has_number_value() && absl::StrContains(text, "/") ? TextValue(text) : value;
}

absl::StatusOr<Value> FromNode(const YAML::Node& node, int depth) {
  if (depth > kMaxDepth) return UsageError("the spec file is nested too deeply");
  Value value;
  if (node.IsNull() || !node.IsDefined()) {
    value.set_null_value(google::protobuf::NULL_VALUE);
  } else if (node.IsScalar()) {
    value = node.Tag() == "!" ? TextValue(node.Scalar()) : ParseSpecScalar(node.Scalar());
  } else if (node.IsSequence()) {
    value.mutable_list_value();
    for (const YAML::Node& entry : node) {
      ASSIGN_OR_RETURN(*value.mutable_list_value()->add_values(), FromNode(entry, depth + 1));
    }
  } else {
    auto& fields = *value.mutable_struct_value()->mutable_fields();
    for (const auto& entry : node) {
      const std::string key = entry.first.Scalar();
      if (fields.contains(key)) return UsageError(absl::StrCat("key \"", key, "\" appears twice"));
      ASSIGN_OR_RETURN(fields[key], FromNode(entry.second, depth + 1));
    }
  }
  return value;
}

absl::Status FromValue(const Value& value, Message& message) {
  std::string json;
  if (const auto status = google::protobuf::util::MessageToJsonString(value, &json); !status.ok()) {
    return UsageError(status.ToString());
  }
  message.Clear();
  if (const auto status = google::protobuf::util::JsonStringToMessage(json, &message);
      !status.ok()) {
    return UsageError(absl::string_view(status.message().data(), status.message().size()));
  }
  return absl::OkStatus();
}

// "attacks[0].params.steps" -> attacks, 0, params, steps.
std::vector<std::string> SplitPath(absl::string_view path) {
  return absl::StrSplit(absl::StrReplaceAll(path, {{"[", "."}, {"]", ""}}), '.');
}

absl::Status SetAt(Value& root, absl::string_view path, const Value& leaf) {
  Value* at = &root;
  for (const std::string& part : SplitPath(path)) {
    size_t index = 0;
    if (part.empty()) return UsageError(absl::StrCat("--set ", path, ": empty name in the path"));
    if (absl::SimpleAtoi(part, &index) && !at->has_struct_value()) {
      auto& list = *at->mutable_list_value();
      if (index > static_cast<size_t>(list.values_size())) {
        return UsageError(absl::StrCat("--set ", path, ": the list has ", list.values_size(),
                                       " entries, so the next index is ", list.values_size()));
      }
      at = index == static_cast<size_t>(list.values_size()) ? list.add_values()
                                                            : list.mutable_values(index);
    } else {
      at = &(*at->mutable_struct_value()->mutable_fields())[part];
    }
  }
  *at = leaf;
  return absl::OkStatus();
}

std::string FormOf(const std::string& path) {
  if (absl::EndsWith(path, ".json")) return "json";
  if (absl::EndsWith(path, ".textproto") || absl::EndsWith(path, ".pbtxt")) return "textproto";
  return "yaml";
}

}  // namespace

absl::StatusOr<Value> ParseYaml(absl::string_view text) {
  try {
    return FromNode(YAML::Load(std::string(text)), 0);
  } catch (const YAML::Exception& error) {
    return UsageError(absl::StrCat("line ", error.mark.line + 1, ", column ", error.mark.column + 1,
                                   ": ", error.msg));
  }
}

absl::Status ParseSpec(absl::string_view text, absl::string_view form, Message& message) {
  if (form == "textproto") {
    google::protobuf::TextFormat::Parser parser;
    if (!parser.ParseFromString(std::string(text), &message)) {
      return UsageError(absl::StrCat("not the text form of ", message.GetDescriptor()->name()));
    }
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(Value value, ParseYaml(text));
  if (!value.has_struct_value()) {
    return UsageError(
        absl::StrCat("the file does not hold the fields of a ", message.GetDescriptor()->name()));
  }
  RETURN_IF_ERROR(CheckSpecValue(*message.GetDescriptor(), "", value));
  return FromValue(value, message);
}

absl::Status LoadSpec(const std::string& path, Message& message) {
  std::string text;
  if (path == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    ASSIGN_OR_RETURN(text, ReadFile(path));
  }
  const absl::Status status = ParseSpec(text, FormOf(path), message);
  if (status.ok()) {
    if (path != "-") RebaseSpecFiles(std::filesystem::path(path).parent_path().string(), message);
    return status;
  }
  return UsageError(absl::StrCat(path == "-" ? "standard input" : path, ": ", status.message()));
}

absl::Status ApplySettings(const std::vector<std::string>& settings, Message& message) {
  if (settings.empty()) return absl::OkStatus();
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  Value root;
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok() ||
      !google::protobuf::util::JsonStringToMessage(json, &root).ok()) {
    return absl::InternalError("the specification has no JSON form");
  }
  for (const std::string& setting : settings) {
    const std::vector<std::string> parts = absl::StrSplit(setting, absl::MaxSplits('=', 1));
    if (parts.size() != 2) return UsageError(absl::StrCat("--set ", setting, " is not a.b=VALUE"));
    RETURN_IF_ERROR(SetAt(root, parts[0], ParseSpecScalar(parts[1])));
  }
  RETURN_IF_ERROR(CheckSpecValue(*message.GetDescriptor(), "", root));
  return FromValue(root, message);
}

}  // namespace adamant
