// SPDX-License-Identifier: Apache-2.0
#include "core/base/registry.h"

#include <algorithm>

namespace adamant {

bool Declaration::HasTrait(absl::string_view trait) const {
  return std::find(traits.begin(), traits.end(), trait) != traits.end();
}

bool Declaration::SupportsNorm(absl::string_view norm) const {
  return std::find(norms.begin(), norms.end(), norm) != norms.end();
}

v1::PluginInfo Declaration::ToProto() const {
  v1::PluginInfo info;
  info.set_name(name);
  info.set_summary(summary);
  info.set_paper(paper);
  for (const Param& param : params) *info.add_params() = param.ToProto();
  for (const Preset& preset : presets) {
    v1::ParamPreset* out = info.add_presets();
    out->set_name(preset.name);
    for (const auto& [key, value] : preset.values) {
      (*out->mutable_params()->mutable_fields())[key] = ToValue(value);
    }
  }
  for (const std::string& norm : norms) info.add_norms(norm);
  for (const std::string& trait : traits) info.add_traits(trait);
  return info;
}

}  // namespace adamant
