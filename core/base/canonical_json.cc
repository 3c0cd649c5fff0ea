// SPDX-License-Identifier: Apache-2.0
#include "core/base/canonical_json.h"

#include <charconv>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace adamant {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

std::string CanonicalNumber(double number) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof(text), number).ptr;
  return std::string(text, end);
}

}  // namespace

std::string JsonQuoted(absl::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned char>(c));
    } else {
      out.push_back(c);
    }
  }
  return out + "\"";
}

std::string CanonicalJson(const Value& value) {
  switch (value.kind_case()) {
    case Value::kBoolValue:
      return value.bool_value() ? "true" : "false";
    case Value::kNumberValue:
      return CanonicalNumber(value.number_value());
    case Value::kStringValue:
      return JsonQuoted(value.string_value());
    case Value::kListValue: {
      std::vector<std::string> items;
      for (const Value& item : value.list_value().values()) items.push_back(CanonicalJson(item));
      return absl::StrCat("[", absl::StrJoin(items, ","), "]");
    }
    default:
      return "null";  // parameters of plug-ins are not nested deeper
  }
}

std::string CanonicalJson(const Struct& params) {
  const std::map<std::string, Value> sorted(params.fields().begin(), params.fields().end());
  std::vector<std::string> members;
  for (const auto& [key, value] : sorted) {
    members.push_back(absl::StrCat(JsonQuoted(key), ":", CanonicalJson(value)));
  }
  return absl::StrCat("{", absl::StrJoin(members, ","), "}");
}

std::string CanonicalJson(const v1::PluginSpec& spec) {
  return absl::StrCat("{\"name\":", JsonQuoted(spec.name()),
                      ",\"params\":", CanonicalJson(spec.params()), "}");
}

}  // namespace adamant
