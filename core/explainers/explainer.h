// SPDX-License-Identifier: Apache-2.0
// The Explainer contract: (model view, images, classes) -> attribution maps.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/registry.h"
#include "core/explainers/model_view.h"
#include "core/explainers/selection.h"

namespace adamant {

// What an explainer asks of a model beside forward passes.
enum class Need { kLayer, kLayerGradient, kGapLinearHead };

enum class Signedness { kNonNegative, kSigned };  // range of the raw map

struct ExplainCost {
  int64_t forwards = 0;
  int64_t backwards = 0;
};

// One chunk of images. A result must not depend on how the images of a job are cut into chunks.
struct ExplainInput {
  at::Tensor images;        // float32 [N,C,H,W] in [0,1]
  at::Tensor classes;       // int64 [N]: the class each map explains
  at::Tensor ids;           // int64 [N]: sample identity, keys random draws
  std::vector<Tap> layers;  // [C,h,w] taps, for explainers that need a layer
  Score score;
  uint64_t seed = 0;
};

// The maps of one layer, one per image.
struct LayerMaps {
  std::string layer;
  at::Tensor raw;           // [N,h,w], un-normalised, at the layer's resolution
  at::Tensor pre_relu_min;  // [N], range before the final ReLU
  at::Tensor pre_relu_max;  // [N]
  at::Tensor empty;         // bool [N]: nothing to see (explanations.md 1.6)
};

struct ExplainMaps {
  at::Tensor predicted;   // int64 [N], argmax
  at::Tensor confidence;  // [N], softmax probability of `predicted`
  at::Tensor scores;      // [N], of the explained class
  std::vector<LayerMaps> layers;
};

// Created per job, immutable. Explain is pure: no I/O, no global state, no change of the model.
class Explainer {
 public:
  static constexpr char kFamily[] = "explainer";
  using Factory = std::unique_ptr<Explainer>(const Params&);

  virtual ~Explainer() = default;
  virtual std::vector<Need> Needs() const = 0;
  virtual Signedness signedness() const = 0;
  // Passes per image; all layers of one call share them.
  virtual ExplainCost Cost() const = 0;
  virtual ExplainMaps Explain(ModelView& view, const ExplainInput& input) const = 0;
};

// FAILED_PRECONDITION when the model lacks what `explainer` needs, with what to use instead;
// INVALID_ARGUMENT for a layer that it cannot explain.
absl::Status CheckNeeds(const Explainer& explainer, const std::string& name, const ModelInfo& info,
                        const std::vector<Tap>& layers);

// ---- Steps shared by the CAM family ----

struct CamOptions {
  bool relu = true;
  bool smooth_flip = false;
};
std::vector<Param> CamParams(bool relu);
CamOptions ParseCam(const Params& params);

// What one evaluation of a CAM method gives: logits [N,K] and, per layer, the map before the ReLU
// [N,h,w].
struct CamPass {
  at::Tensor logits;
  std::vector<at::Tensor> maps;
};
using CamFunction = std::function<CamPass(const at::Tensor& images)>;

// ReLU, the mean with the flipped image's map where asked for, the range before the ReLU, and the
// empty flag.
ExplainMaps FinishCam(const ExplainInput& input, const CamOptions& options,
                      const CamFunction& evaluate);

}  // namespace adamant
