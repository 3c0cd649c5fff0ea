// SPDX-License-Identifier: Apache-2.0
#include "client/cli/params.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/exit_code.h"
#include "common/plugin_check.h"
#include "google/protobuf/util/json_util.h"

namespace adamant {
namespace {

using google::protobuf::Value;

// Digits, or digits with "/": "inf", "nan" and "0x10" stay texts.
bool LooksLikeNumber(absl::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789+-.eE/") == absl::string_view::npos &&
         text.find_first_of("0123456789") != absl::string_view::npos;
}

}  // namespace

Value ParseValue(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  Value value;
  if (text == "true" || text == "false") {
    value.set_bool_value(text == "true");
  } else if (text == "null") {
    value.set_null_value(google::protobuf::NULL_VALUE);
  } else if (const auto number = ParseNumber(text); LooksLikeNumber(text) && number.ok()) {
    value.set_number_value(*number);
  } else if (text.size() >= 2 && text.front() == '[' && text.back() == ']') {
    const absl::string_view inner = absl::StripAsciiWhitespace(text.substr(1, text.size() - 2));
    auto& list = *value.mutable_list_value();
    if (inner.empty()) return value;
    for (absl::string_view entry : absl::StrSplit(inner, ','))
      *list.add_values() = ParseValue(entry);
  } else if (text.size() >= 2 && text.front() == '"' && text.back() == '"' &&
             google::protobuf::util::JsonStringToMessage(std::string(text), &value).ok()) {
    return value;
  } else {
    value.set_string_value(std::string(text));
  }
  return value;
}

absl::StatusOr<std::vector<TypedPlugin>> BindParams(const std::vector<TypedOption>& options) {
  std::vector<TypedPlugin> plugins;
  for (const TypedOption& option : options) {
    if (option.flag != "param") {
      plugins.push_back({option.flag, {}});
      plugins.back().plugin.set_name(option.value);
      continue;
    }
    const std::vector<std::string> parts = absl::StrSplit(option.value, absl::MaxSplits('=', 1));
    if (parts.size() != 2 || parts[0].empty()) {
      return UsageError(absl::StrCat("--param ", option.value, " is not NAME=VALUE"));
    }
    if (plugins.empty()) {
      return UsageError(
          absl::StrCat("--param ", option.value,
                       " follows no plug-in; write it after the option that names the "
                       "plug-in, e.g. --attack pgd --param steps=40"));
    }
    auto& fields = *plugins.back().plugin.mutable_params()->mutable_fields();
    if (fields.contains(parts[0])) {
      return UsageError(absl::StrCat("parameter ", parts[0], " of --", plugins.back().flag, " ",
                                     plugins.back().plugin.name(), " is given twice"));
    }
    fields[parts[0]] = ParseValue(parts[1]);
  }
  return plugins;
}

const v1::PluginSpec* LastPlugin(const std::vector<TypedPlugin>& plugins, absl::string_view flag) {
  const v1::PluginSpec* last = nullptr;
  for (const TypedPlugin& entry : plugins) {
    if (entry.flag == flag) last = &entry.plugin;
  }
  return last;
}

std::vector<v1::PluginSpec> AllPlugins(const std::vector<TypedPlugin>& plugins,
                                       absl::string_view flag) {
  std::vector<v1::PluginSpec> all;
  for (const TypedPlugin& entry : plugins) {
    if (entry.flag == flag) all.push_back(entry.plugin);
  }
  return all;
}

}  // namespace adamant
