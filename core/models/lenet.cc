// SPDX-License-Identifier: Apache-2.0
// The MNIST network of Madry et al. 2018 (arXiv 1706.06083):
//   conv5x5 C->32 same, ReLU, max 2; conv5x5 32->64 same, ReLU [conv2 = last_conv], max 2 [pool2];
//   linear ->1024, ReLU [logits_in]; dropout `drop`; linear 1024->K.
// Weights start as truncated normals of deviation 0.1, biases at 0.1. `bn` adds batch normalisation
// behind the convolutions and the first linear layer.
#include "core/models/network.h"

namespace adamant {
namespace {

constexpr Init kInit{Init::kTruncatedNormal, 0.1};

LayerOptions Options(bool bias) {
  return {.padding = 2, .bias = bias, .init = kInit, .bias_value = 0.1};
}

class Lenet : public Network {
 public:
  Lenet(const Params& params, const ModelShape& shape, uint64_t seed)
      : Network(params, shape, seed),
        drop_(params.Real("drop")),
        conv1_(weights_, "conv1", shape.channels, 32, 5, Options(!params.Bool("bn"))),
        bn1_(MaybeNorm(params, "bn1", 32)),
        conv2_(weights_, "conv2", 32, 64, 5, Options(!params.Bool("bn"))),
        bn2_(MaybeNorm(params, "bn2", 64)),
        fc1_(weights_, "fc1", 64 * (shape.height / 4) * (shape.width / 4), 1024, Options(true)),
        bn3_(MaybeNorm(params, "bn3", 1024)),
        fc2_(weights_, "fc2", 1024, shape.num_classes, Options(true)) {
    Describe({.classifier = "fc2", .default_tap = "conv2"});
  }

 private:
  std::optional<BatchNorm> MaybeNorm(const Params& params, const char* name, int64_t channels) {
    if (!params.Bool("bn")) return std::nullopt;
    return BatchNorm(weights_, name, channels);
  }

  static at::Tensor Norm(const std::optional<BatchNorm>& norm, const at::Tensor& x,
                         const Pass& pass) {
    return norm.has_value() ? (*norm)(x, pass.training()) : x;
  }

  at::Tensor Run(const at::Tensor& images, Pass& pass) const override {
    at::Tensor x = pass.ReluMaxPool(Norm(bn1_, conv1_(images), pass));
    x = pass.Tap("pool2", pass.ReluMaxPool(Norm(bn2_, conv2_(x), pass), "conv2"));
    x = pass.Tap("logits_in", pass.Relu(Norm(bn3_, fc1_(x.flatten(1)), pass)));
    return fc2_(pass.Dropout(x, drop_));
  }

  double drop_;
  Conv conv1_;
  std::optional<BatchNorm> bn1_;
  Conv conv2_;
  std::optional<BatchNorm> bn2_;
  Linear fc1_;
  std::optional<BatchNorm> bn3_;
  Linear fc2_;
};

const Registration<Model> kLenet{
    {.name = "lenet",
     .summary = "two 5x5 convolutions and two linear layers for 28x28 digits",
     .paper = "Madry et al. 2018, arXiv 1706.06083",
     .params =
         WithNormaliser("identity", {0}, {1},
                        {Real("drop", 0).Range(0, 0.95).Doc("dropout rate before the last layer"),
                         Bool("bn", false).Doc("batch normalisation behind each hidden layer")})},
    [](const Params& params, const ModelShape& shape, uint64_t seed) {
      return MakeNetwork<Lenet>(params, shape, {1, 28, 28, 10}, seed);
    }};

}  // namespace
}  // namespace adamant
