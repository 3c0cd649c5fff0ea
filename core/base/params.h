// SPDX-License-Identifier: Apache-2.0
// Declarations of plug-in parameters, and their checked values.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "adamant/v1/plugin.pb.h"

namespace adamant {

// The declaration of one parameter, written as Int("steps", 40).Range(1, 100000).Doc("gradient
// steps").
class Param {
 public:
  using Default = std::variant<std::monostate, bool, double, std::string, std::vector<double>,
                               std::vector<std::string>>;

  Param(v1::ParamType type, std::string name, Default value)
      : type_(type), name_(std::move(name)), default_(std::move(value)) {}

  Param&& Range(double min, double max) &&;  // inclusive; of each element of a list
  Param&& Doc(std::string doc) &&;
  Param&& Choices(std::vector<std::string> choices) &&;
  Param&& Required() &&;  // no default

  v1::ParamInfo ToProto() const;
  const std::string& name() const { return name_; }

 private:
  v1::ParamType type_;
  std::string name_;
  Default default_;
  std::string doc_;
  std::vector<std::string> choices_;
  bool has_range_ = false;
  double min_ = 0;
  double max_ = 0;
};

google::protobuf::Value ToValue(const Param::Default& value);

Param Bool(std::string name, bool value);
Param Int(std::string name, int64_t value);
Param Real(std::string name, double value);
Param Text(std::string name, std::string value);
Param Choice(std::string name, std::string value, std::vector<std::string> choices);
Param RealList(std::string name, std::vector<double> value);
Param TextList(std::string name, std::vector<std::string> value);

// The values of a plug-in's parameters: validated and complete, so a getter never fails for a
// declared parameter. Asking for an undeclared one, or with the wrong type, throws
// std::logic_error. Immutable, thread-safe.
class Params {
 public:
  Params() = default;
  // `spec` must come from NormalizePluginSpec.
  explicit Params(v1::PluginSpec spec) : spec_(std::move(spec)) {}

  bool Bool(const std::string& name) const;
  int64_t Int(const std::string& name) const;
  double Real(const std::string& name) const;
  const std::string& Text(const std::string& name) const;  // also of a Choice
  std::vector<double> RealList(const std::string& name) const;
  std::vector<std::string> TextList(const std::string& name) const;
  bool Has(const std::string& name) const;

  const v1::PluginSpec& spec() const { return spec_; }

 private:
  const google::protobuf::Value& Get(const std::string& name,
                                     google::protobuf::Value::KindCase kind) const;

  v1::PluginSpec spec_;
};

}  // namespace adamant
