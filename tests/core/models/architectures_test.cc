// SPDX-License-Identifier: Apache-2.0
// Parameter counts and tap shapes of models_and_datasets.md 2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/base/torch.h"
#include "core/models/network.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::PluginSpec Spec(const std::string& name,
                    const std::vector<std::pair<std::string, std::string>>& texts = {},
                    const std::vector<std::pair<std::string, double>>& numbers = {}) {
  v1::PluginSpec spec;
  spec.set_name(name);
  auto& fields = *spec.mutable_params()->mutable_fields();
  for (const auto& [key, value] : texts) fields[key].set_string_value(value);
  for (const auto& [key, value] : numbers) fields[key].set_number_value(value);
  return spec;
}

std::unique_ptr<Model> Make(const v1::PluginSpec& spec, const ModelShape& shape = {}) {
  auto model = MakePlugin<Model>(spec, shape, uint64_t{0});
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

std::vector<std::string> TapTexts(const Model& model) {
  std::vector<std::string> texts;
  for (const Tap& tap : model.info().taps) {
    texts.push_back(absl::StrCat(tap.name, " ", tap.channels, ",", tap.height, ",", tap.width));
  }
  return texts;
}

TEST(Architectures, HaveThePublishedParameterCounts) {
  const struct {
    v1::PluginSpec spec;
    ModelShape shape;
    int64_t count;
  } kCases[] = {
      {Spec("mini_gap"), {1, 28, 28, 10}, 8610},
      {Spec("lenet"), {}, 3274634},
      {Spec("mnist_cnn", {{"kind", "trades"}}), {}, 312202},
      {Spec("mnist_cnn", {{"kind", "advertorch"}}), {}, 648226},
      {Spec("mnist_cnn", {{"kind", "convex"}}), {}, 166406},
      {Spec("resnet", {}, {{"depth", 20}}), {}, 272474},
      {Spec("resnet", {}, {{"depth", 32}}), {}, 466906},
      {Spec("resnet", {}, {{"depth", 110}}), {}, 1730714},
      {Spec("resnet"), {}, 11173962},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(Make(c.spec, c.shape)->info().parameter_count, c.count) << c.spec.DebugString();
  }
}

TEST(Architectures, HaveTheDocumentedTaps) {
  EXPECT_THAT(
      TapTexts(*Make(Spec("mini_gap"), {1, 28, 28, 10})),
      ElementsAre("a1 8,28,28", "a2 16,14,14", "a3 16,14,14", "a4 32,7,7", "logits_in 32,0,0"));
  EXPECT_THAT(TapTexts(*Make(Spec("lenet"))),
              ElementsAre("conv2 64,14,14", "pool2 64,7,7", "logits_in 1024,0,0"));
  EXPECT_THAT(TapTexts(*Make(Spec("mnist_cnn", {{"kind", "trades"}}))),
              ElementsAre("last_conv 64,8,8", "logits_in 200,0,0"));
  EXPECT_THAT(
      TapTexts(*Make(Spec("resnet", {}, {{"depth", 20}}))),
      ElementsAre("conv2_x 16,32,32", "conv3_x 32,16,16", "conv4_x 64,8,8", "logits_in 64,0,0"));
  EXPECT_THAT(TapTexts(*Make(Spec("mini_gap"), {3, 224, 224, 20})),
              ::testing::Contains("a4 32,56,56"));
}

TEST(Architectures, ListTheirLayersForClients) {
  const auto model = Make(Spec("mini_gap"), {1, 28, 28, 10});
  const std::vector<v1::Layer> layers = DescribeLayers(model->info());
  ASSERT_EQ(layers.size(), 5u);
  EXPECT_TRUE(layers[3].is_default());
  EXPECT_EQ(layers[3].channels(), 32);
  EXPECT_EQ(model->FindTap("penultimate")->name, "a4");
  EXPECT_THAT(std::string(model->FindTap("a5").status().message()), HasSubstr("a4"));
  EXPECT_THROW(model->ForwardWithTaps(torch::zeros({1, 1, 28, 28}), std::vector<std::string>{"b"}),
               std::invalid_argument);
}

TEST(Architectures, RefuseShapesThatDoNotFit) {
  const auto tiny = MakePlugin<Model>(Spec("mini_gap"), ModelShape{1, 3, 3, 10}, uint64_t{0});
  EXPECT_THAT(std::string(tiny.status().message()), HasSubstr("mini_gap cannot take 1x3x3"));
  const auto grey = MakePlugin<Model>(Spec("resnet"), ModelShape{1, 32, 32, 10}, uint64_t{0});
  EXPECT_THAT(std::string(grey.status().message()), HasSubstr("normaliser_mean has 3 values"));
  const auto depth =
      MakePlugin<Model>(Spec("resnet", {}, {{"depth", 19}}), ModelShape{}, uint64_t{0});
  EXPECT_THAT(std::string(depth.status().message()), HasSubstr("known: 18, 20, 32, 110"));
}

TEST(Normaliser, ChannelSubtractsTheMeanAndDividesByTheDeviation) {
  const torch::NoGradGuard no_grad;
  const ModelShape shape{1, 8, 8, 10};
  const auto channel = Make(Spec("mini_gap"), shape);
  const auto identity = Make(Spec("mini_gap", {{"normaliser", "identity"}}), shape);
  EXPECT_EQ(channel->info().normaliser, "channel(0.3/0.3)");
  const at::Tensor images = torch::linspace(0, 1, 128).reshape({2, 1, 8, 8});
  EXPECT_TRUE(channel->Logits(images).allclose(identity->Logits((images - 0.3) / 0.3)));
}

TEST(Normaliser, PerImageGivesMeanZeroAndDeviationOne) {
  const torch::NoGradGuard no_grad;
  const ModelShape shape{1, 8, 8, 10};
  const auto per_image = Make(Spec("mini_gap", {{"normaliser", "per_image"}}), shape);
  const auto identity = Make(Spec("mini_gap", {{"normaliser", "identity"}}), shape);
  const at::Tensor image = torch::linspace(0, 1, 64).reshape({1, 1, 8, 8});
  const at::Tensor normal = (image - image.mean()) / image.std(false);
  EXPECT_TRUE(per_image->Logits(image).allclose(identity->Logits(normal), 1e-4, 1e-5));
  EXPECT_TRUE(per_image->Logits(torch::full({1, 1, 8, 8}, 0.5)).isfinite().all().item<bool>());
}

TEST(Weights, DrawHeNormalForConvolutionsAndUniformForLinearLayers) {
  Weights weights(0);
  const Conv conv(weights, "conv", 16, 64, 5);
  const Linear linear(weights, "linear", 400, 50);
  const double deviation = std::sqrt(2.0 / (5 * 5 * 64));
  EXPECT_NEAR(conv.weight.std().item<double>(), deviation, 0.03 * deviation);
  EXPECT_NEAR(conv.weight.mean().item<double>(), 0, 0.03 * deviation);
  EXPECT_LE(linear.weight.abs().max().item<double>(), 0.05);
  EXPECT_GT(linear.weight.abs().max().item<double>(), 0.0499);
  EXPECT_EQ(conv.bias.abs().max().item<double>(), 0);
}

TEST(Weights, TruncatedNormalsStayWithinTwoDeviations) {
  Weights weights(0);
  const at::Tensor values = weights.Add("w", {20000}, Init{Init::kTruncatedNormal, 0.1}).detach();
  EXPECT_LE(values.abs().max().item<double>(), 0.2);
  EXPECT_GT(values.abs().max().item<double>(), 0.199);
  // Deviation of a normal cut at 2: 0.8796 of the full one.
  EXPECT_NEAR(values.std().item<double>(), 0.08796, 0.002);
}

TEST(Dropout, ScalesWhatItKeepsAndDependsOnTheStep) {
  const auto model = Make(Spec("lenet", {}, {{"drop", 0.5}}));
  const at::Tensor images = torch::linspace(0, 1, 784).reshape({1, 1, 28, 28});
  const at::Tensor eval = model->Logits(images);
  model->Train(true);
  model->SetDropoutStream(1, 0);
  const at::Tensor first = model->Logits(images), second = model->Logits(images);
  EXPECT_FALSE(first.equal(second)) << "each call draws its own mask";
  model->SetDropoutStream(1, 0);
  EXPECT_TRUE(model->Logits(images).equal(first));
  model->SetDropoutStream(1, 1);
  EXPECT_FALSE(model->Logits(images).equal(first));
  model->Train(false);
  EXPECT_TRUE(model->Logits(images).equal(eval));

  const TapVisitor nobody;
  Pass pass(nobody, {}, true, 0, 0, 0);
  const at::Tensor dropped = pass.Dropout(torch::ones({10000}), 0.25);
  EXPECT_TRUE(dropped.eq(0).logical_or(dropped.sub(4.0 / 3).abs().lt(1e-6)).all().item<bool>());
  EXPECT_NEAR(dropped.mean().item<double>(), 1, 0.03);
}

TEST(BatchNorm, MovesItsStatisticsByATenthInTrainingOnly) {
  Weights weights(0);
  const BatchNorm norm(weights, "bn", 1);
  const at::Tensor x = torch::tensor({1.0f, 3.0f}).reshape({2, 1, 1, 1});
  norm(x, false);
  EXPECT_EQ(norm.running_mean.item<float>(), 0.0f);
  norm(x, true);
  EXPECT_FLOAT_EQ(norm.running_mean.item<float>(), 0.2f);  // 0.9 * 0 + 0.1 * 2
  EXPECT_FLOAT_EQ(norm.running_var.item<float>(), 1.1f);   // 0.9 * 1 + 0.1 * 2 (unbiased)
}

// A layer with statistics as a training leaves them.
struct NormalisedLayer {
  NormalisedLayer() {
    at::manual_seed(2);
    Change();
  }
  void Change() const {
    const at::NoGradGuard no_grad;
    const BatchNorm& norm = layer.norm();
    for (const at::Tensor& value : {norm.weight, norm.running_var}) value.uniform_(0.3, 2);
    for (const at::Tensor& value : {norm.bias, norm.running_mean}) value.uniform_(-1, 1);
    layer.conv().weight.uniform_(-1, 1);
  }
  void Freeze() const {
    for (const at::Tensor& value : {layer.conv().weight, layer.norm().weight, layer.norm().bias}) {
      value.requires_grad_(false);
    }
  }
  at::Tensor InTwoSteps(const at::Tensor& x) const {
    return layer.norm()(layer.conv()(x), /*training=*/false);
  }
  Weights weights{0};
  NormalisedConv layer{weights, "conv", "bn", 2, 5, 3, 1, 1};
};

TEST(NormalisedConv, IsTheSameInOneStep) {
  const NormalisedLayer made;
  made.Freeze();
  const at::Tensor x = at::rand({3, 2, 6, 6}).requires_grad_(true);
  const auto gradient = [&](const at::Tensor& y) {
    return torch::autograd::grad({y.square().sum()}, {x})[0];
  };
  const at::Tensor found = made.layer(x, false);
  EXPECT_TRUE(at::allclose(found, made.InTwoSteps(x), 1e-5, 1e-5));
  EXPECT_TRUE(at::allclose(gradient(found), gradient(made.InTwoSteps(x)), 1e-4, 1e-4));
}

TEST(NormalisedConv, FollowsItsWeights) {
  const NormalisedLayer made;
  made.Freeze();
  const at::Tensor x = at::rand({3, 2, 6, 6});
  {
    const c10::InferenceMode inference;
    made.layer(x, false);
  }
  made.Change();
  EXPECT_TRUE(at::allclose(made.layer(x, false), made.InTwoSteps(x), 1e-5, 1e-5));
  at::Tensor weight = made.layer.conv().weight;  // shares the variable
  weight.set_data(at::ones_like(weight));
  EXPECT_TRUE(at::allclose(made.layer(x, false), made.InTwoSteps(x), 1e-5, 1e-5));
}

// Batch normalisation moves its statistics without a new version of them.
TEST(NormalisedConv, FollowsATraining) {
  const NormalisedLayer made;
  made.Freeze();
  const at::Tensor x = at::rand({3, 2, 6, 6});
  made.layer(x, false);
  made.layer(x, true);
  EXPECT_TRUE(at::allclose(made.layer(x, false), made.InTwoSteps(x), 1e-5, 1e-5));
}

TEST(NormalisedConv, LearnsWhereItIsNotFrozen) {
  const NormalisedLayer made;
  const at::Tensor before = made.layer.norm().running_mean.clone();
  const at::Tensor x = at::rand({3, 2, 6, 6});
  made.layer(x, true).sum().backward();
  EXPECT_FALSE(at::equal(made.layer.norm().running_mean, before));
  EXPECT_TRUE(made.layer.norm().weight.grad().defined());
  made.layer(x, false).sum().backward();
  EXPECT_TRUE(made.layer.conv().weight.grad().defined());
}

}  // namespace
}  // namespace adamant
