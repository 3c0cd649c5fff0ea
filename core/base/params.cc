// SPDX-License-Identifier: Apache-2.0
#include "core/base/params.h"

#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"

namespace adamant {
namespace {

using google::protobuf::Value;

struct ValueWriter {
  Value value;
  void operator()(std::monostate) {}
  void operator()(bool v) { value.set_bool_value(v); }
  void operator()(double v) { value.set_number_value(v); }
  void operator()(const std::string& v) { value.set_string_value(v); }
  void operator()(const std::vector<double>& list) {
    value.mutable_list_value();
    for (double v : list) value.mutable_list_value()->add_values()->set_number_value(v);
  }
  void operator()(const std::vector<std::string>& list) {
    value.mutable_list_value();
    for (const std::string& v : list) value.mutable_list_value()->add_values()->set_string_value(v);
  }
};

}  // namespace

Param&& Param::Range(double min, double max) && {
  has_range_ = true;
  min_ = min;
  max_ = max;
  return std::move(*this);
}

Param&& Param::Doc(std::string doc) && {
  doc_ = std::move(doc);
  return std::move(*this);
}

Param&& Param::Choices(std::vector<std::string> choices) && {
  choices_ = std::move(choices);
  return std::move(*this);
}

Param&& Param::Required() && {
  default_ = std::monostate();
  return std::move(*this);
}

v1::ParamInfo Param::ToProto() const {
  v1::ParamInfo info;
  info.set_name(name_);
  info.set_type(type_);
  info.set_doc(doc_);
  if (has_range_) {
    info.set_min(min_);
    info.set_max(max_);
  }
  for (const std::string& choice : choices_) info.add_choices(choice);
  if (!std::holds_alternative<std::monostate>(default_)) {
    *info.mutable_default_value() = ToValue(default_);
  }
  return info;
}

Value ToValue(const Param::Default& value) {
  ValueWriter writer;
  std::visit(writer, value);
  return std::move(writer.value);
}

Param Bool(std::string name, bool value) { return {v1::BOOL, std::move(name), value}; }
Param Int(std::string name, int64_t value) {
  return {v1::INT, std::move(name), static_cast<double>(value)};
}
Param Real(std::string name, double value) { return {v1::REAL, std::move(name), value}; }
Param Text(std::string name, std::string value) {
  return {v1::TEXT, std::move(name), std::move(value)};
}
Param Choice(std::string name, std::string value, std::vector<std::string> choices) {
  return Param(v1::CHOICE, std::move(name), std::move(value)).Choices(std::move(choices));
}
Param RealList(std::string name, std::vector<double> value) {
  return {v1::REAL_LIST, std::move(name), std::move(value)};
}
Param TextList(std::string name, std::vector<std::string> value) {
  return {v1::TEXT_LIST, std::move(name), std::move(value)};
}

const Value& Params::Get(const std::string& name, Value::KindCase kind) const {
  const auto found = spec_.params().fields().find(name);
  if (found == spec_.params().fields().end() || found->second.kind_case() != kind) {
    throw std::logic_error(
        absl::StrCat(spec_.name(), " did not declare parameter ", name, " with this type"));
  }
  return found->second;
}

bool Params::Bool(const std::string& name) const {
  return Get(name, Value::kBoolValue).bool_value();
}
int64_t Params::Int(const std::string& name) const {
  return static_cast<int64_t>(Get(name, Value::kNumberValue).number_value());
}
double Params::Real(const std::string& name) const {
  return Get(name, Value::kNumberValue).number_value();
}
const std::string& Params::Text(const std::string& name) const {
  return Get(name, Value::kStringValue).string_value();
}
std::vector<double> Params::RealList(const std::string& name) const {
  std::vector<double> list;
  for (const Value& v : Get(name, Value::kListValue).list_value().values())
    list.push_back(v.number_value());
  return list;
}
std::vector<std::string> Params::TextList(const std::string& name) const {
  std::vector<std::string> list;
  for (const Value& v : Get(name, Value::kListValue).list_value().values())
    list.push_back(v.string_value());
  return list;
}
bool Params::Has(const std::string& name) const { return spec_.params().fields().contains(name); }

}  // namespace adamant
