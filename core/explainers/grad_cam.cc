// SPDX-License-Identifier: Apache-2.0
// Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391):
//   map = ReLU(sum_k <g_k> A_k),  g = d score / dA,  <.> the mean over space.
// The paper differentiates the logit; other scores are offered. Behind global average pooling and a
// linear layer the map is cam's divided by h*w.
#include "core/explainers/explainer.h"
#include "core/models/activation_map.h"

namespace adamant {
namespace {

class GradCam final : public Explainer {
 public:
  explicit GradCam(const Params& params) : options_(ParseCam(params)) {}

  std::vector<Need> Needs() const override { return {Need::kLayer, Need::kLayerGradient}; }
  Signedness signedness() const override {
    return options_.relu ? Signedness::kNonNegative : Signedness::kSigned;
  }
  ExplainCost Cost() const override {
    return options_.smooth_flip ? ExplainCost{2, 2} : ExplainCost{1, 1};
  }

  ExplainMaps Explain(ModelView& view, const ExplainInput& input) const override {
    std::vector<std::string> layers;
    for (const Tap& tap : input.layers) layers.push_back(tap.name);
    return FinishCam(input, options_, [&](const at::Tensor& images) {
      const TapGradients seen = view.Gradients(images, layers, [&](const at::Tensor& logits) {
        return ScoreOf(input.score, logits, input.classes);
      });
      CamPass pass{seen.logits, {}};
      for (size_t i = 0; i < layers.size(); ++i) {
        pass.maps.push_back(GradCamMap(seen.activations[i], seen.gradients[i]));
      }
      return pass;
    });
  }

 private:
  const CamOptions options_;
};

const Registration<Explainer> kGradCam{
    {.name = "grad_cam",
     .summary = "activations of a layer, weighted by the mean gradient of the class score",
     .paper = "Selvaraju et al. 2017, arXiv 1610.02391",
     .params = CamParams(/*relu=*/true),
     .traits = {"layer", "layer_gradient"}},
    [](const Params& params) -> std::unique_ptr<Explainer> {
      return std::make_unique<GradCam>(params);
    }};

}  // namespace
}  // namespace adamant
