// SPDX-License-Identifier: Apache-2.0
#include "common/plugin_check.h"

#include <cmath>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/nearest.h"

namespace adamant {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

constexpr double kMaxInteger = 9007199254740992.0;  // 2^53
constexpr absl::string_view kPreset = "preset";

std::string RangeText(const v1::ParamInfo& param) {
  if (!param.has_min() && !param.has_max()) return "any value";
  return absl::StrCat("[", param.has_min() ? absl::StrCat(param.min()) : "-inf", ", ",
                      param.has_max() ? absl::StrCat(param.max()) : "inf", "]");
}

// Why `value` is not a number of this parameter; empty when it is one.
std::string NumberProblem(const v1::ParamInfo& param, const Value& value, bool integer) {
  if (value.kind_case() != Value::kNumberValue)
    return integer ? "must be an integer" : "must be a number";
  const double number = value.number_value();
  if (!std::isfinite(number)) return "must be finite";
  if (integer && (number != std::floor(number) || std::abs(number) > kMaxInteger))
    return "must be an integer";
  if ((param.has_min() && number < param.min()) || (param.has_max() && number > param.max())) {
    return absl::StrCat("is ", number, ", outside ", RangeText(param));
  }
  return "";
}

std::string ListProblem(const v1::ParamInfo& param, const Value& value) {
  if (value.kind_case() != Value::kListValue) return "must be a list";
  if (value.list_value().values_size() > 4096) return "has more than 4096 entries";
  for (const Value& entry : value.list_value().values()) {
    if (param.type() == v1::REAL_LIST) {
      if (std::string problem = NumberProblem(param, entry, false); !problem.empty()) {
        return absl::StrCat("has an entry that ", problem);
      }
    } else if (entry.kind_case() != Value::kStringValue) {
      return "must be a list of texts";
    }
  }
  return "";
}

std::string ValueProblem(const v1::ParamInfo& param, const Value& value) {
  switch (param.type()) {
    case v1::BOOL:
      return value.kind_case() == Value::kBoolValue ? "" : "must be true or false";
    case v1::INT:
      return NumberProblem(param, value, true);
    case v1::REAL:
      return NumberProblem(param, value, false);
    case v1::TEXT:
      if (value.kind_case() != Value::kStringValue) return "must be a text";
      return value.string_value().size() <= 4096 ? "" : "is longer than 4096 bytes";
    case v1::CHOICE:
      for (const std::string& choice : param.choices()) {
        if (value.kind_case() == Value::kStringValue && value.string_value() == choice) return "";
      }
      return absl::StrCat("must be one of ", absl::StrJoin(param.choices(), ", "));
    case v1::REAL_LIST:
    case v1::TEXT_LIST:
      return ListProblem(param, value);
    default:
      return "has an undeclared type";
  }
}

// A single number or text where a list is expected is a list of one.
Value AsTyped(const v1::ParamInfo& param, const Value& value) {
  const bool single = (param.type() == v1::REAL_LIST && value.has_number_value()) ||
                      (param.type() == v1::TEXT_LIST && value.has_string_value());
  if (!single) return value;
  Value list;
  *list.mutable_list_value()->add_values() = value;
  return list;
}

const v1::ParamInfo* FindParam(const v1::PluginInfo& info, absl::string_view name) {
  for (const v1::ParamInfo& param : info.params()) {
    if (param.name() == name) return &param;
  }
  return nullptr;
}

std::vector<std::string> ParamNames(const v1::PluginInfo& info) {
  std::vector<std::string> names;
  for (const v1::ParamInfo& param : info.params()) names.push_back(param.name());
  if (info.presets_size() > 0) names.emplace_back(kPreset);
  return names;
}

// The parameters of the preset that `given` names, or an empty Struct.
Struct PresetParams(const v1::PluginInfo& info, const Struct& given, const std::string& field,
                    std::vector<Violation>& violations) {
  const auto chosen = given.fields().find(std::string(kPreset));
  if (chosen == given.fields().end() || info.presets_size() == 0) return {};
  std::vector<std::string> names;
  for (const v1::ParamPreset& preset : info.presets()) {
    if (preset.name() == chosen->second.string_value()) return preset.params();
    names.push_back(preset.name());
  }
  violations.push_back({absl::StrCat(field, ".params.preset"), "BAD_PARAMETER",
                        UnknownNameMessage("preset", chosen->second.string_value(), names)});
  return {};
}

}  // namespace

const v1::PluginInfo* FindPlugin(const v1::PluginFamily& family, absl::string_view name) {
  for (const v1::PluginInfo& info : family.plugins()) {
    if (info.name() == name) return &info;
  }
  return nullptr;
}

bool HasTrait(const v1::PluginInfo* plugin, absl::string_view trait) {
  return plugin != nullptr && absl::c_linear_search(plugin->traits(), trait);
}

v1::PluginSpec NormalizePluginSpec(const v1::PluginSpec& spec, const v1::PluginFamily& family,
                                   absl::string_view field, std::vector<Violation>& violations) {
  const std::string path(field);
  const v1::PluginInfo* info = FindPlugin(family, spec.name());
  if (info == nullptr) {
    std::vector<std::string> known;
    for (const v1::PluginInfo& plugin : family.plugins()) known.push_back(plugin.name());
    violations.push_back({absl::StrCat(path, ".name"), "UNKNOWN_PLUGIN",
                          UnknownNameMessage(family.name(), spec.name(), known)});
    return spec;
  }
  v1::PluginSpec normal;
  normal.set_name(spec.name());
  auto& params = *normal.mutable_params()->mutable_fields();
  for (const v1::ParamInfo& param : info->params()) {
    if (param.has_default_value()) params[param.name()] = param.default_value();
  }
  const Struct preset = PresetParams(*info, spec.params(), path, violations);
  for (const auto& [name, value] : preset.fields()) params[name] = value;
  for (const auto& [name, given] : spec.params().fields()) {
    if (name == kPreset && info->presets_size() > 0) continue;
    const std::string where = absl::StrCat(path, ".params.", name.substr(0, 64));
    const v1::ParamInfo* param = FindParam(*info, name);
    if (param == nullptr) {
      violations.push_back({where, "BAD_PARAMETER",
                            UnknownNameMessage(absl::StrCat("parameter of ", spec.name()), name,
                                               ParamNames(*info))});
      continue;
    }
    const Value value = AsTyped(*param, given);
    if (const std::string problem = ValueProblem(*param, value); !problem.empty()) {
      violations.push_back(
          {where, "BAD_PARAMETER", absl::StrCat(spec.name(), ".", name, " ", problem)});
    } else {
      params[name] = value;
    }
  }
  for (const v1::ParamInfo& param : info->params()) {
    if (!params.contains(param.name())) {
      violations.push_back(
          {absl::StrCat(path, ".params.", param.name()), "BAD_PARAMETER",
           absl::StrCat(spec.name(), ".", param.name(), " is required: ", param.doc())});
    }
  }
  return normal;
}

absl::StatusOr<v1::PluginSpec> NormalizePluginSpec(const v1::PluginSpec& spec,
                                                   const v1::PluginFamily& family) {
  std::vector<Violation> violations;
  v1::PluginSpec normal = NormalizePluginSpec(spec, family, family.name(), violations);
  if (violations.empty()) return normal;
  return absl::InvalidArgumentError(absl::StrJoin(
      violations, "; ",
      [](std::string* out, const Violation& v) { absl::StrAppend(out, v.description); }));
}

absl::StatusOr<double> ParseNumber(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '/');
  double number = 0;
  double divisor = 1;
  const bool ok = !parts.empty() && parts.size() <= 2 && absl::SimpleAtod(parts[0], &number) &&
                  (parts.size() == 1 || (absl::SimpleAtod(parts[1], &divisor) && divisor != 0));
  if (!ok || !std::isfinite(number / divisor)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text.substr(0, 64), "\" is not a number; write 0.03 or 8/255"));
  }
  return number / divisor;
}

}  // namespace adamant
