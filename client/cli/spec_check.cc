// SPDX-License-Identifier: Apache-2.0
#include "client/cli/spec_check.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "adamant/v1/blob.pb.h"
#include "adamant/v1/explain.pb.h"
#include "client/cli/exit_code.h"
#include "client/cli/spec_upload.h"
#include "common/blob_name.h"
#include "common/nearest.h"
#include "common/plugin_check.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Value;

const FieldDescriptor* FindField(const Descriptor& type, const std::string& name) {
  const FieldDescriptor* field = type.FindFieldByName(name);
  return field != nullptr ? field : type.FindFieldByCamelcaseName(name);
}

absl::Status UnknownField(const Descriptor& type, const std::string& path,
                          const std::string& name) {
  std::vector<std::string> known;
  for (int i = 0; i < type.field_count(); ++i) known.push_back(type.field(i)->name());
  return UsageError(
      absl::StrCat(path, path.empty() ? "" : ": ",
                   UnknownNameMessage(absl::StrCat("field of ", type.name()), name, known)));
}

// Accepts `linf` for LINF.
absl::Status CheckEnum(const EnumDescriptor& type, const std::string& path, Value& value) {
  if (!value.has_string_value()) return absl::OkStatus();
  const std::string upper = absl::AsciiStrToUpper(value.string_value());
  if (type.FindValueByName(upper) == nullptr) {
    std::vector<std::string> known;
    for (int i = 1; i < type.value_count(); ++i) known.push_back(type.value(i)->name());
    return UsageError(absl::StrCat(path, ": ", UnknownNameMessage(type.name(), upper, known)));
  }
  value.set_string_value(upper);
  return absl::OkStatus();
}

absl::Status CheckSingle(const FieldDescriptor& field, const std::string& path, Value& value) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return CheckSpecValue(*field.message_type(), path, value);
    case FieldDescriptor::CPPTYPE_ENUM:
      return CheckEnum(*field.enum_type(), path, value);
    case FieldDescriptor::CPPTYPE_STRING:
      // YAML reads an unquoted 1000 as a number; where a text belongs it is one.
      if (value.has_number_value() && field.type() == FieldDescriptor::TYPE_STRING) {
        value.set_string_value(absl::StrCat(value.number_value()));
      }
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT: {
      if (!value.has_string_value()) return absl::OkStatus();
      const auto number = ParseNumber(value.string_value());
      if (!number.ok()) return UsageError(absl::StrCat(path, ": ", number.status().message()));
      value.set_number_value(*number);
      return absl::OkStatus();
    }
    default:
      return absl::OkStatus();
  }
}

absl::Status CheckField(const FieldDescriptor& field, const std::string& path, Value& value) {
  if (value.has_null_value() || field.is_map()) return absl::OkStatus();
  if (!field.is_repeated()) return CheckSingle(field, path, value);
  if (!value.has_list_value()) return UsageError(absl::StrCat(path, ": must be a list"));
  for (int i = 0; i < value.list_value().values_size(); ++i) {
    RETURN_IF_ERROR(CheckSingle(field, absl::StrCat(path, "[", i, "]"),
                                *value.mutable_list_value()->mutable_values(i)));
  }
  return absl::OkStatus();
}

// Parameters of a plug-in have no declared type here: a text that reads as a quotient is a number.
void ReadQuotients(Value& value) {
  if (value.has_struct_value()) {
    for (auto& [name, entry] : *value.mutable_struct_value()->mutable_fields())
      ReadQuotients(entry);
  } else if (value.has_list_value()) {
    for (Value& entry : *value.mutable_list_value()->mutable_values()) ReadQuotients(entry);
  } else if (value.has_string_value() && absl::StrContains(value.string_value(), "/")) {
    if (const auto number = ParseNumber(value.string_value()); number.ok()) {
      value.set_number_value(*number);
    }
  }
}

// Where a blob or an image belongs, a text is `blobs/SHA256/SIZE` or the path of a file.
absl::Status ReadFileName(const Descriptor& type, const std::string& path, Value& value) {
  const std::string text = value.string_value();
  if (type.full_name() != v1::BlobRef::descriptor()->full_name() &&
      type.full_name() != v1::InlineImage::descriptor()->full_name()) {
    return absl::OkStatus();
  }
  auto& fields = *value.mutable_struct_value()->mutable_fields();
  if (type.full_name() == v1::InlineImage::descriptor()->full_name()) {
    fields["name"].set_string_value(absl::StrCat(kSpecFilePrefix, text));
  } else if (absl::StartsWith(text, "blobs/")) {
    const auto blob = ParseBlobName(text);
    if (!blob.ok()) return UsageError(absl::StrCat(path, ": ", blob.status().message()));
    fields["sha256"].set_string_value(blob->sha256());
    fields["size_bytes"].set_string_value(absl::StrCat(blob->size_bytes()));
  } else {
    fields["sha256"].set_string_value(absl::StrCat(kSpecFilePrefix, text));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSpecValue(const Descriptor& type, const std::string& path, Value& value) {
  if (type.full_name() == "google.protobuf.Struct") ReadQuotients(value);
  if (absl::StartsWith(type.full_name(), "google.protobuf.")) return absl::OkStatus();
  if (value.has_string_value()) RETURN_IF_ERROR(ReadFileName(type, path, value));
  if (!value.has_struct_value()) {
    return UsageError(absl::StrCat(path, ": must hold the fields of a ", type.name()));
  }
  auto& fields = *value.mutable_struct_value()->mutable_fields();
  if (type.name() == "ThreatModel" && fields.contains("epsilon") &&
      fields.at("epsilon").has_string_value() && !fields.contains("epsilon_text")) {
    fields["epsilon_text"].set_string_value(fields.at("epsilon").string_value());
  }
  for (auto& [name, entry] : fields) {
    const FieldDescriptor* field = FindField(type, name);
    if (field == nullptr) return UnknownField(type, path, name);
    RETURN_IF_ERROR(CheckField(*field, path.empty() ? name : absl::StrCat(path, ".", name), entry));
  }
  return absl::OkStatus();
}

}  // namespace adamant
