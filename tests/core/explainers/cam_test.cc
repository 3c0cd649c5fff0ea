// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/explainers/display.h"
#include "tests/core/explainers/toy.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Explainer> Signed(const std::string& name) {
  return *MakePlugin<Explainer>(WithBool(Plugin(name), "relu", false));
}

TEST(Cam, IsGradCamTimesTheAreaOfTheLayer) {
  const auto model = MiniGap();
  ModelView view(*model);
  const ExplainInput input = Input(*model, 8);
  const at::Tensor cam = Signed("cam")->Explain(view, input).layers[0].raw;
  const at::Tensor grad_cam = Signed("grad_cam")->Explain(view, input).layers[0].raw;
  EXPECT_LT(RelativeDifference(7 * 7 * grad_cam, cam), 1e-5);
}

TEST(Cam, SumsToTheLogitWithoutItsBias) {
  const auto model = MiniGap();
  ModelView view(*model);
  const ExplainInput input = Input(*model, 8);
  const ExplainMaps maps = Signed("cam")->Explain(view, input);
  const at::Tensor bias = model->GapHead().second.detach().index_select(0, input.classes);
  EXPECT_LT(RelativeDifference(maps.layers[0].raw.mean({1, 2}), maps.scores - bias), 1e-5);
}

TEST(Cam, RefusesAModelWithoutItsHeadAndNamesGradCam) {
  ModelInfo info;
  info.architecture.set_name("lenet");
  info.taps = {{"conv2", 16, 10, 10}};
  info.default_tap = "conv2";
  const absl::Status status = CheckNeeds(*Signed("cam"), "cam", info, info.taps);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("use grad_cam"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("global average pooling"));
}

TEST(Cam, RefusesAnotherLayerThanTheInputOfThePooling) {
  const auto model = MiniGap();
  const auto layers = *SelectLayers(model->info(), {"a2"});
  const absl::Status status = CheckNeeds(*Signed("cam"), "cam", model->info(), layers);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("only layer a4"));
}

TEST(GradCam, LayersShareOnePassAndDoNotChangeEachOther) {
  const auto model = MiniGap();
  ModelView view(*model);
  ExplainInput input = Input(*model, 4);
  const at::Tensor alone = Signed("grad_cam")->Explain(view, input).layers[0].raw;
  input.layers = *SelectLayers(model->info(), {"a2", "last_conv"});
  const int64_t before = view.backwards();
  const ExplainMaps maps = Signed("grad_cam")->Explain(view, input);
  EXPECT_EQ(view.backwards() - before, 4);
  ASSERT_EQ(maps.layers.size(), 2U);
  EXPECT_EQ(maps.layers[0].raw.sizes(), (std::vector<int64_t>{4, 14, 14}));
  EXPECT_LT(RelativeDifference(maps.layers[1].raw, alone), 1e-5);
}

TEST(GradCam, GradientsAgreeWithFiniteDifferencesOfTheScore) {
  const auto model = MiniGap();
  ModelView view(*model);
  const ExplainInput input = Input(*model, 1);
  const Score score{ScoreKind::kLogProbability};
  const auto score_of = [&](const at::Tensor& logits) {
    return ScoreOf(score, logits, input.classes);
  };
  const TapGradients seen = view.Gradients(input.images, {"a4"}, score_of);
  const at::Tensor gradient = seen.gradients[0].flatten();
  // float32: a step of 0.5 keeps rounding below 1e-4 of the largest gradient.
  const double step = 0.5;
  const double largest = gradient.abs().max().item<double>();
  for (int64_t entry = 0; entry < gradient.numel(); entry += gradient.numel() / 20) {
    double values[2];
    for (const int side : {0, 1}) {
      at::Tensor moved = seen.activations[0].clone();
      moved.view({-1})[entry] += side == 0 ? -step : step;
      values[side] = score_of(view.ForwardReplacing(input.images, "a4", moved)).item<double>();
    }
    EXPECT_NEAR((values[1] - values[0]) / (2 * step), gradient[entry].item<double>(),
                1e-3 * largest);
  }
}

TEST(GradCam, TheGraphStartsAtTheTap) {
  const auto model = MiniGap();
  ModelView view(*model);
  at::Tensor images = Digits(2).images.requires_grad_(true);
  view.Gradients(images, {"a4"}, [](const at::Tensor& logits) { return logits.select(1, 0); });
  EXPECT_FALSE(images.grad().defined());
  for (const auto& [name, parameter] : model->Parameters()) {
    EXPECT_FALSE(parameter.grad().defined()) << name;
  }
}

TEST(GradCam, SmoothFlipGivesTheMirrorImageTheMirroredMap) {
  const auto model = MiniGap();
  ModelView view(*model);
  ExplainInput input = Input(*model, 4);
  const auto smooth = *MakePlugin<Explainer>(WithBool(Plugin("grad_cam"), "smooth_flip", true));
  const at::Tensor map = smooth->Explain(view, input).layers[0].raw;
  input.images = input.images.flip(3);
  const at::Tensor mirrored = smooth->Explain(view, input).layers[0].raw;
  EXPECT_LT(RelativeDifference(mirrored.flip(2), map), 1e-5);
}

// One map for one image, without a model.
ExplainMaps Finish(const at::Tensor& map, const CamOptions& options) {
  ExplainInput input;
  input.images = torch::zeros({1, 1, 4, 4});
  input.classes = torch::zeros({1}, at::kLong);
  input.layers = {{"a", 1, map.size(1), map.size(2)}};
  return FinishCam(input, options, [&](const at::Tensor&) {
    return CamPass{torch::tensor({{2.0F, 1.0F}}), {map}};
  });
}

TEST(EmptyMap, NothingAboveZeroIsEmptyAfterTheReluAndKeepsItsRange) {
  const ExplainMaps maps = Finish(torch::tensor({{{-2.0F, -1.0F}}}), {.relu = true});
  EXPECT_TRUE(maps.layers[0].empty.item<bool>());
  EXPECT_EQ(maps.layers[0].raw.abs().max().item<float>(), 0);
  EXPECT_EQ(maps.layers[0].pre_relu_min.item<float>(), -2);
  EXPECT_EQ(maps.layers[0].pre_relu_max.item<float>(), -1);
}

TEST(EmptyMap, WithoutReluOnlyAConstantMapIsEmpty) {
  EXPECT_FALSE(
      Finish(torch::tensor({{{-2.0F, -1.0F}}}), {.relu = false}).layers[0].empty.item<bool>());
  EXPECT_TRUE(
      Finish(torch::tensor({{{-2.0F, -2.0F}}}), {.relu = false}).layers[0].empty.item<bool>());
}

TEST(ExplainMaps, StatePredictionConfidenceAndScore) {
  const ExplainMaps maps = Finish(torch::tensor({{{1.0F, 2.0F}}}), {});
  EXPECT_EQ(maps.predicted.item<int64_t>(), 0);
  EXPECT_NEAR(maps.confidence.item<float>(), 0.731059, 1e-6);  // 1 / (1 + e^-1)
  EXPECT_EQ(maps.scores.item<float>(), 2);
}

}  // namespace
}  // namespace adamant
