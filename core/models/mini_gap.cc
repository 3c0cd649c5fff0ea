// SPDX-License-Identifier: Apache-2.0
// A small network with global average pooling, for tests and the fixture recipe (w = width):
//   conv3x3 C->w, BN, ReLU [a1]; max 2; conv3x3 w->2w, BN, ReLU [a2]; conv3x3 2w->2w, BN, ReLU
//   [a3]; max 2; conv3x3 2w->4w, BN, ReLU [a4 = last_conv, penultimate]; GAP; linear 4w->K.
#include "absl/strings/str_cat.h"
#include "core/models/network.h"

namespace adamant {
namespace {

class MiniGap : public Network {
 public:
  MiniGap(const Params& params, const ModelShape& shape, uint64_t seed)
      : Network(params, shape, seed), w_(params.Int("width")) {
    Describe({.classifier = "fc",
              .default_tap = "a4",
              .gap_head = true,
              .default_tap_aliases = {"penultimate"}});
  }

 private:
  NormalisedConv Block(const char* number, int64_t in, int64_t out) {
    return {weights_, absl::StrCat("conv", number), absl::StrCat("bn", number), in, out, 3, 1, 1};
  }

  at::Tensor Run(const at::Tensor& images, Pass& pass) const override {
    at::Tensor x = pass.ReluMaxPool(block1_(images, pass.training()), "a1");
    x = pass.Tap("a2", pass.Relu(block2_(x, pass.training())));
    x = pass.ReluMaxPool(block3_(x, pass.training()), "a3");
    x = pass.Tap("a4", pass.Relu(block4_(x, pass.training())));
    return fc_(pass.Tap("logits_in", GlobalAveragePool(x)));
  }

  int64_t w_;
  NormalisedConv block1_ = Block("1", shape().channels, w_);
  NormalisedConv block2_ = Block("2", w_, 2 * w_);
  NormalisedConv block3_ = Block("3", 2 * w_, 2 * w_);
  NormalisedConv block4_ = Block("4", 2 * w_, 4 * w_);
  Linear fc_{weights_, "fc", 4 * w_, shape().num_classes};
};

const Registration<Model> kMiniGap{
    {.name = "mini_gap",
     .summary = "four 3x3 convolutions, global average pooling, one linear layer",
     .params = WithNormaliser("channel", {0.3}, {0.3},
                              {Int("width", 8).Range(1, 1024).Doc("channels of the first layer")})},
    [](const Params& params, const ModelShape& shape, uint64_t seed) {
      return MakeNetwork<MiniGap>(params, shape, {.num_classes = 10}, seed);
    }};

}  // namespace
}  // namespace adamant
