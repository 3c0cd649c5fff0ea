// SPDX-License-Identifier: Apache-2.0
// CAM (Zhou et al. 2016, arXiv 1512.04150):  map(i,j) = sum_k W[c,k] A_k(i,j), where A is the input
// of global average pooling and W the weight of the linear layer behind it. Needs no gradient. The
// map is signed, as in the paper; the bias is left out, as it has no place.
#include "core/explainers/explainer.h"
#include "core/models/activation_map.h"

namespace adamant {
namespace {

class Cam final : public Explainer {
 public:
  explicit Cam(const Params& params) : options_(ParseCam(params)) {}

  std::vector<Need> Needs() const override { return {Need::kLayer, Need::kGapLinearHead}; }
  Signedness signedness() const override {
    return options_.relu ? Signedness::kNonNegative : Signedness::kSigned;
  }
  ExplainCost Cost() const override { return {options_.smooth_flip ? 2 : 1, 0}; }

  ExplainMaps Explain(ModelView& view, const ExplainInput& input) const override {
    return FinishCam(input, options_, [&](const at::Tensor& images) -> CamPass {
      const std::string& layer = input.layers.at(0).name;
      Outputs outputs = view.Forward(images, {layer});
      return {outputs.logits, {CamMap(view.model(), outputs.taps[layer], input.classes)}};
    });
  }

 private:
  const CamOptions options_;
};

const Registration<Explainer> kCam{
    {.name = "cam",
     .summary = "class activation map of a network with global average pooling and a linear head",
     .paper = "Zhou et al. 2016, arXiv 1512.04150",
     .params = CamParams(/*relu=*/false),
     .traits = {"layer", "gap_linear_head"}},
    [](const Params& params) -> std::unique_ptr<Explainer> {
      return std::make_unique<Cam>(params);
    }};

}  // namespace
}  // namespace adamant
