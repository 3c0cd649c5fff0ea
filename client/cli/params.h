// SPDX-License-Identifier: Apache-2.0
// Plug-ins and their parameters as they are typed: `--attack pgd --param steps=7`.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/plugin.pb.h"

namespace adamant {

// One option of the command line, in the order of typing.
struct TypedOption {
  std::string flag;  // without dashes, e.g. "attack"
  std::string value;
};

// A plug-in option with the parameters that follow it.
struct TypedPlugin {
  std::string flag;
  v1::PluginSpec plugin;
};

// Binds every `param` to the plug-in option before it. A usage error for a parameter that follows
// none, or without "=".
absl::StatusOr<std::vector<TypedPlugin>> BindParams(const std::vector<TypedOption>& options);

// The last plug-in given with `flag`, or nullptr.
const v1::PluginSpec* LastPlugin(const std::vector<TypedPlugin>& plugins, absl::string_view flag);
std::vector<v1::PluginSpec> AllPlugins(const std::vector<TypedPlugin>& plugins,
                                       absl::string_view flag);

// `true`, `false`, `null`, numbers, quotients such as 8/255, lists in brackets; the rest is text.
// Quotes keep a number a text: '"7"'.
google::protobuf::Value ParseValue(absl::string_view text);

}  // namespace adamant
