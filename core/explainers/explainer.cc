// SPDX-License-Identifier: Apache-2.0
#include "core/explainers/explainer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/torch.h"
#include "core/explainers/display.h"

namespace adamant {
namespace {

bool Has(const std::vector<Need>& needs, Need need) {
  return std::find(needs.begin(), needs.end(), need) != needs.end();
}

LayerMaps FirstMaps(const std::string& layer, const at::Tensor& map, bool relu) {
  return {layer, relu ? map.relu() : map, map.amin({1, 2}), map.amax({1, 2}), {}};
}

}  // namespace

absl::Status CheckNeeds(const Explainer& explainer, const std::string& name, const ModelInfo& info,
                        const std::vector<Tap>& layers) {
  const std::vector<Need> needs = explainer.Needs();
  if (Has(needs, Need::kLayer) && layers.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " needs a layer, and this model has no named layers"));
  }
  if (!Has(needs, Need::kGapLinearHead)) return absl::OkStatus();
  if (!info.gap_head) {
    return absl::FailedPreconditionError(
        absl::StrCat(name,
                     " needs global average pooling and one linear layer behind the last "
                     "convolution, which ",
                     info.architecture.name(), " does not have: use grad_cam"));
  }
  for (const Tap& layer : layers) {
    if (layer.name == info.default_tap) continue;
    return absl::InvalidArgumentError(absl::StrCat(name, " explains only layer ", info.default_tap,
                                                   ", the input of the pooling, not ", layer.name,
                                                   ": use grad_cam"));
  }
  return absl::OkStatus();
}

std::vector<Param> CamParams(bool relu) {
  return {Bool("relu", relu).Doc("keep only what speaks for the class"),
          Bool("smooth_flip", false)
              .Doc("mean of the maps of the image and of its mirror image, mirrored back")};
}

CamOptions ParseCam(const Params& params) {
  return {params.Bool("relu"), params.Bool("smooth_flip")};
}

ExplainMaps FinishCam(const ExplainInput& input, const CamOptions& options,
                      const CamFunction& evaluate) {
  const CamPass pass = evaluate(input.images);
  ExplainMaps out;
  for (size_t i = 0; i < pass.maps.size(); ++i) {
    out.layers.push_back(FirstMaps(input.layers[i].name, pass.maps[i], options.relu));
  }
  if (options.smooth_flip) {
    const CamPass mirrored = evaluate(input.images.flip(3));
    for (size_t i = 0; i < mirrored.maps.size(); ++i) {
      LayerMaps& maps = out.layers[i];
      const LayerMaps other = FirstMaps(maps.layer, mirrored.maps[i].flip(2), options.relu);
      maps.raw = (maps.raw + other.raw) / 2;
      maps.pre_relu_min = at::minimum(maps.pre_relu_min, other.pre_relu_min);
      maps.pre_relu_max = at::maximum(maps.pre_relu_max, other.pre_relu_max);
    }
  }
  for (LayerMaps& maps : out.layers) {
    maps.empty = options.relu ? maps.raw.amax({1, 2}).le(0) : IsConstant(maps.raw);
  }
  out.confidence = pass.logits.softmax(1).amax(1);
  out.predicted = pass.logits.argmax(1);
  out.scores = ScoreOf(input.score, pass.logits, input.classes);
  return out;
}

}  // namespace adamant
