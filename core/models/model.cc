// SPDX-License-Identifier: Apache-2.0
#include "core/models/model.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/nearest.h"
#include "common/sha256.h"

namespace adamant {
namespace {

const Tap* FindTapOrNull(const ModelInfo& info, const std::string& name) {
  for (const Tap& tap : info.taps) {
    if (tap.name == name || std::count(tap.aliases.begin(), tap.aliases.end(), name) > 0) {
      return &tap;
    }
  }
  return nullptr;
}

std::string UnknownTap(const ModelInfo& info, const std::string& name) {
  std::vector<std::string> known;
  for (const Tap& tap : info.taps) {
    known.push_back(tap.name);
    known.insert(known.end(), tap.aliases.begin(), tap.aliases.end());
  }
  if (known.empty()) {
    return absl::StrCat("unknown layer \"", name, "\": this model has no named layers");
  }
  return UnknownNameMessage("layer", name, known);
}

}  // namespace

Outputs Model::ForwardWithTaps(const at::Tensor& images, absl::Span<const std::string> taps) const {
  std::multimap<std::string, std::string> wanted;  // own name -> name asked for
  for (const std::string& name : taps) {
    const Tap* tap = FindTapOrNull(info(), name);
    if (tap == nullptr) throw std::invalid_argument(UnknownTap(info(), name));
    wanted.emplace(tap->name, name);
  }
  Outputs outputs;
  outputs.logits = Forward(images, [&](const std::string& name, const at::Tensor& value) {
    const auto [begin, end] = wanted.equal_range(name);
    for (auto it = begin; it != end; ++it) outputs.taps[it->second] = value;
    return value;
  });
  return outputs;
}

absl::StatusOr<Tap> Model::FindTap(const std::string& name) const {
  const Tap* tap = FindTapOrNull(info(), name);
  if (tap == nullptr) return absl::InvalidArgumentError(UnknownTap(info(), name));
  return *tap;
}

absl::StatusOr<std::unique_ptr<Model>> Model::CopyIn(at::ScalarType type) const {
  return absl::UnimplementedError(
      absl::StrCat("this model cannot compute in ", c10::toString(type)));
}

std::vector<v1::Layer> DescribeLayers(const ModelInfo& info) {
  std::vector<v1::Layer> layers;
  for (const Tap& tap : info.taps) {
    v1::Layer& layer = layers.emplace_back();
    layer.set_name(tap.name);
    layer.set_channels(static_cast<int32_t>(tap.channels));
    layer.set_height(static_cast<int32_t>(tap.height));
    layer.set_width(static_cast<int32_t>(tap.width));
    layer.set_is_default(tap.name == info.default_tap);
  }
  return layers;
}

std::string WeightsDigest(const Model& model) {
  NamedTensors all = model.Parameters();
  const NamedTensors buffers = model.Buffers();
  all.insert(all.end(), buffers.begin(), buffers.end());
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Sha256 sha;
  for (const auto& [name, tensor] : all) {
    const at::Tensor values = tensor.detach().to(at::kCPU).contiguous();
    sha.Update(absl::StrCat(name, "[", absl::StrJoin(values.sizes(), ","), "]",
                            c10::toString(values.scalar_type()), ";"));
    sha.Update({static_cast<const char*>(values.const_data_ptr()), values.nbytes()});
  }
  return sha.FinishHex();
}

}  // namespace adamant
