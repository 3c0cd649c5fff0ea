// SPDX-License-Identifier: Apache-2.0
// Checks a PluginSpec against the declarations of its family. Used by the server at submission and
// by core before a plug-in is made, so that both refuse the same things with the same words.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "adamant/v1/plugin.pb.h"

namespace adamant {

// One thing that is wrong with a request. `reason` is the ErrorInfo reason, e.g. "UNKNOWN_PLUGIN".
struct Violation {
  std::string field;  // path in the request, e.g. "attacks[0].attack.params.steps"
  std::string reason;
  std::string description;
};

// The plug-in called `name`, or nullptr.
const v1::PluginInfo* FindPlugin(const v1::PluginFamily& family, absl::string_view name);

// False for nullptr.
bool HasTrait(const v1::PluginInfo* plugin, absl::string_view trait);

// Returns `spec` with the preset and every default filled in; appends to `violations` what is wrong
// with it: unknown name, unknown parameter, wrong type, value out of range, missing required
// parameter. `field` is the path of `spec`.
v1::PluginSpec NormalizePluginSpec(const v1::PluginSpec& spec, const v1::PluginFamily& family,
                                   absl::string_view field, std::vector<Violation>& violations);

// The same as a status: INVALID_ARGUMENT with all violations in its message.
absl::StatusOr<v1::PluginSpec> NormalizePluginSpec(const v1::PluginSpec& spec,
                                                   const v1::PluginFamily& family);

// `40`, `8/255` or `0.03`: a number or a quotient of two. INVALID_ARGUMENT for anything else.
absl::StatusOr<double> ParseNumber(absl::string_view text);

}  // namespace adamant
