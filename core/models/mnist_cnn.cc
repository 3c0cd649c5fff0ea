// SPDX-License-Identifier: Apache-2.0
// Three small convolutional networks for 28x28 digits, by `kind`:
//   trades      conv3x3 1->32, 32->32, max 2, conv3x3 32->64, 64->64 [last_conv], max 2, linear
//               1024->200, dropout 0.5, 200->200, 200->K; no padding (Zhang et al. 2019)
//   advertorch  conv3x3 pad 1 1->32, max 2, conv3x3 pad 1 32->64 [last_conv], max 2, linear
//               3136->200, 200->K (Ding et al. 2019)
//   convex      conv4x4 stride 2 pad 1 1->16, conv4x4 stride 2 pad 1 16->32 [last_conv], linear
//               1568->100, 100->K (Wong and Kolter 2018)
// ReLU behind every layer but the last.
#include "core/models/network.h"

namespace adamant {
namespace {

class Trades : public Network {
 public:
  Trades(const Params& params, const ModelShape& shape, uint64_t seed)
      : Network(params, shape, seed) {
    Describe({.classifier = "fc3", .default_tap = "last_conv"});
  }

 private:
  static int64_t Pooled(int64_t side) { return ((side - 4) / 2 - 4) / 2; }

  at::Tensor Run(const at::Tensor& images, Pass& pass) const override {
    at::Tensor x = pass.ReluMaxPool(conv2_(pass.Relu(conv1_(images))));
    x = pass.ReluMaxPool(conv4_(pass.Relu(conv3_(x))), "last_conv");
    x = pass.Relu(fc1_(x.flatten(1)));
    return fc3_(pass.Tap("logits_in", pass.Relu(fc2_(pass.Dropout(x, 0.5)))));
  }

  Conv conv1_{weights_, "conv1", shape().channels, 32, 3};
  Conv conv2_{weights_, "conv2", 32, 32, 3};
  Conv conv3_{weights_, "conv3", 32, 64, 3};
  Conv conv4_{weights_, "conv4", 64, 64, 3};
  Linear fc1_{weights_, "fc1", 64 * Pooled(shape().height) * Pooled(shape().width), 200};
  Linear fc2_{weights_, "fc2", 200, 200};
  Linear fc3_{weights_, "fc3", 200, shape().num_classes};
};

class Advertorch : public Network {
 public:
  Advertorch(const Params& params, const ModelShape& shape, uint64_t seed)
      : Network(params, shape, seed) {
    Describe({.classifier = "linear2", .default_tap = "last_conv"});
  }

 private:
  at::Tensor Run(const at::Tensor& images, Pass& pass) const override {
    at::Tensor x = pass.ReluMaxPool(conv1_(images));
    x = pass.ReluMaxPool(conv2_(x), "last_conv");
    return linear2_(pass.Tap("logits_in", pass.Relu(linear1_(x.flatten(1)))));
  }

  Conv conv1_{weights_, "conv1", shape().channels, 32, 3, {.padding = 1}};
  Conv conv2_{weights_, "conv2", 32, 64, 3, {.padding = 1}};
  Linear linear1_{weights_, "linear1", 64 * (shape().height / 4) * (shape().width / 4), 200};
  Linear linear2_{weights_, "linear2", 200, shape().num_classes};
};

class Convex : public Network {
 public:
  Convex(const Params& params, const ModelShape& shape, uint64_t seed)
      : Network(params, shape, seed) {
    Describe({.classifier = "linear2", .default_tap = "last_conv"});
  }

 private:
  at::Tensor Run(const at::Tensor& images, Pass& pass) const override {
    const at::Tensor x = pass.Tap("last_conv", pass.Relu(conv2_(pass.Relu(conv1_(images)))));
    return linear2_(pass.Tap("logits_in", pass.Relu(linear1_(x.flatten(1)))));
  }

  Conv conv1_{weights_, "conv1", shape().channels, 16, 4, {.stride = 2, .padding = 1}};
  Conv conv2_{weights_, "conv2", 16, 32, 4, {.stride = 2, .padding = 1}};
  Linear linear1_{weights_, "linear1", 32 * (shape().height / 4) * (shape().width / 4), 100};
  Linear linear2_{weights_, "linear2", 100, shape().num_classes};
};

absl::StatusOr<std::unique_ptr<Model>> Make(const Params& params, const ModelShape& shape,
                                            uint64_t seed) {
  const ModelShape own{1, 28, 28, 10};
  const std::string& kind = params.Text("kind");
  if (kind == "trades") return MakeNetwork<Trades>(params, shape, own, seed);
  if (kind == "convex") return MakeNetwork<Convex>(params, shape, own, seed);
  return MakeNetwork<Advertorch>(params, shape, own, seed);
}

const Registration<Model> kMnistCnn{
    {.name = "mnist_cnn",
     .summary = "small convolutional networks for 28x28 digits",
     .paper = "Zhang et al. 2019, arXiv 1901.08573; Wong and Kolter 2018, arXiv 1711.00851",
     .params = WithNormaliser("identity", {0}, {1},
                              {Choice("kind", "advertorch", {"trades", "advertorch", "convex"})
                                   .Doc("which of the three networks")})},
    Make};

}  // namespace
}  // namespace adamant
