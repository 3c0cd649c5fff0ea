// SPDX-License-Identifier: Apache-2.0
// ResNet for small images (He et al. 2016, arXiv 1512.03385): conv3x3, BN, ReLU; stages of basic
// blocks (conv3x3, BN, ReLU, conv3x3, BN, + shortcut, ReLU) with stride 1, 2, 2(, 2); global
// average pooling; one linear layer. Depth 6n + 2 has three stages of n blocks and widths 16, 32,
// 64; depth 18 four stages of two blocks and widths 64 to 512. The shortcut is a 1x1 convolution
// with BN where the shape changes. Tensor names are those of torchvision.
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "core/models/network.h"

namespace adamant {
namespace {

struct BasicBlock {
  BasicBlock(Weights& weights, const std::string& name, int64_t in, int64_t out, int64_t stride)
      : conv1(weights, name + ".conv1", name + ".bn1", in, out, 3, stride, 1),
        conv2(weights, name + ".conv2", name + ".bn2", out, out, 3, 1, 1) {
    if (in == out && stride == 1) return;
    projection.emplace(weights, name + ".downsample.0", name + ".downsample.1", in, out, 1, stride,
                       0);
  }

  at::Tensor operator()(const at::Tensor& x, const Pass& pass) const {
    const bool training = pass.training();
    const at::Tensor inner = conv2(pass.Relu(conv1(x, training)), training);
    return pass.Relu(inner + (projection ? (*projection)(x, training) : x));
  }

  NormalisedConv conv1, conv2;
  std::optional<NormalisedConv> projection;
};

struct Layout {
  std::vector<int64_t> widths;
  int64_t blocks;
};

Layout LayoutOf(int64_t depth) {
  switch (depth) {
    case 18:
      return {{64, 128, 256, 512}, 2};
    case 20:
    case 32:
    case 110:
      return {{16, 32, 64}, (depth - 2) / 6};
    default:
      throw std::invalid_argument(
          absl::StrCat("there is no depth ", depth, "; known: 18, 20, 32, 110"));
  }
}

class Resnet : public Network {
 public:
  Resnet(const Params& params, const ModelShape& shape, uint64_t seed)
      : Network(params, shape, seed),
        layout_(LayoutOf(params.Int("depth"))),
        conv1_(weights_, "conv1", "bn1", shape.channels, layout_.widths[0], 3, 1, 1),
        stages_(MakeStages()),
        fc_(weights_, "fc", layout_.widths.back(), shape.num_classes) {
    Describe({.classifier = "fc",
              .default_tap = StageName(stages_.size() - 1),
              .gap_head = true,
              .default_tap_aliases = {"penultimate"}});
  }

 private:
  using Stage = std::vector<BasicBlock>;

  static std::string StageName(size_t index) { return absl::StrCat("conv", index + 2, "_x"); }

  std::vector<Stage> MakeStages() {
    std::vector<Stage> stages(layout_.widths.size());
    int64_t in = layout_.widths[0];
    for (size_t s = 0; s < stages.size(); ++s) {
      for (int64_t b = 0; b < layout_.blocks; ++b) {
        stages[s].emplace_back(weights_, absl::StrCat("layer", s + 1, ".", b), in,
                               layout_.widths[s], s > 0 && b == 0 ? 2 : 1);
        in = layout_.widths[s];
      }
    }
    return stages;
  }

  at::Tensor Run(const at::Tensor& images, Pass& pass) const override {
    at::Tensor x = pass.Relu(conv1_(images, pass.training()));
    for (size_t s = 0; s < stages_.size(); ++s) {
      for (const BasicBlock& block : stages_[s]) x = block(x, pass);
      x = pass.Tap(StageName(s), x);
    }
    return fc_(pass.Tap("logits_in", GlobalAveragePool(x)));
  }

  Layout layout_;
  NormalisedConv conv1_;
  std::vector<Stage> stages_;
  Linear fc_;
};

const Registration<Model> kResnet{
    {.name = "resnet",
     .summary = "residual network of basic blocks for 32x32 images",
     .paper = "He et al. 2016, arXiv 1512.03385",
     .params = WithNormaliser("channel", {0.4914, 0.4822, 0.4465}, {0.2023, 0.1994, 0.2010},
                              {Int("depth", 18).Range(18, 110).Doc("18, 20, 32 or 110")}),
     .test_params = {{"depth", 20}}},
    [](const Params& params, const ModelShape& shape, uint64_t seed) {
      return MakeNetwork<Resnet>(params, shape, {3, 32, 32, 10}, seed);
    }};

}  // namespace
}  // namespace adamant
