// SPDX-License-Identifier: Apache-2.0
#include "core/explainers/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/explainers/toy.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

const at::Tensor& Logits() {
  static const at::Tensor logits = torch::tensor({{1.0F, 4.0F, 3.0F}, {2.0F, 2.0F, 0.0F}});
  return logits;
}

std::vector<int64_t> Resolve(TargetRule rule, int64_t index = 0) {
  const at::Tensor labels = torch::tensor({2, 0}, at::kLong);
  const at::Tensor classes = *ResolveClasses({rule, index}, Logits(), labels, labels);
  return {classes[0].item<int64_t>(), classes[1].item<int64_t>()};
}

TEST(TargetPolicy, ChoosesTheClassAndTheLowestIndexOnTies) {
  EXPECT_EQ(Resolve(TargetRule::kPredicted), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(Resolve(TargetRule::kSecond), (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(Resolve(TargetRule::kLeastLikely), (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(Resolve(TargetRule::kTrueLabel), (std::vector<int64_t>{2, 0}));
  EXPECT_EQ(Resolve(TargetRule::kGiven, 2), (std::vector<int64_t>{2, 2}));
}

TEST(TargetPolicy, AClassOutsideTheModelIsRefusedWithItsCount) {
  const auto classes = ResolveClasses({TargetRule::kGiven, 3}, Logits(), {}, {});
  EXPECT_EQ(classes.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(classes.status().message()), HasSubstr("class 3 is outside [0, 2]"));
}

TEST(TargetPolicy, AMissingLabelNamesTheSample) {
  const auto classes =
      ResolveClasses({TargetRule::kTrueLabel}, Logits(), torch::tensor({1, -1}, at::kLong),
                     torch::tensor({70, 71}, at::kLong));
  EXPECT_THAT(std::string(classes.status().message()), HasSubstr("sample 71 has no label"));
}

TEST(Score, EveryKindByHand) {
  const at::Tensor logits = torch::tensor({{1.0F, 4.0F, 3.0F}});
  const at::Tensor classes = torch::tensor({2}, at::kLong);
  const auto score = [&](ScoreKind kind) {
    return ScoreOf({kind, 0}, logits, classes).item<double>();
  };
  const double sum = std::exp(1.0) + std::exp(4.0) + std::exp(3.0);
  EXPECT_EQ(score(ScoreKind::kLogit), 3);
  EXPECT_NEAR(score(ScoreKind::kProbability), std::exp(3.0) / sum, 1e-6);
  EXPECT_NEAR(score(ScoreKind::kLogProbability), 3 - std::log(sum), 1e-6);
  EXPECT_EQ(score(ScoreKind::kMargin), -1);
  EXPECT_EQ(score(ScoreKind::kContrast), 2);
}

TEST(Layers, AutoIsTheDefaultTapAndAliasesAreTheSameLayer) {
  const auto model = MiniGap();
  EXPECT_EQ((*SelectLayers(model->info(), {}))[0].name, "a4");
  const auto twice = *SelectLayers(model->info(), {"last_conv", "a4", "a1"});
  ASSERT_EQ(twice.size(), 2U);
  EXPECT_EQ(twice[1].name, "a1");
}

TEST(Layers, AnUnknownOneListsWhatExists) {
  const auto layers = SelectLayers(MiniGap()->info(), {"last_con"});
  EXPECT_EQ(layers.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(layers.status().message()), HasSubstr("did you mean \"last_conv\""));
  EXPECT_THAT(std::string(layers.status().message()), HasSubstr("a1 [4,28,28]"));
}

TEST(Layers, FeaturesWithoutAPlaceAreRefused) {
  const auto layers = SelectLayers(MiniGap()->info(), {"logits_in"});
  EXPECT_THAT(std::string(layers.status().message()), HasSubstr("without a place in the image"));
}

TEST(Layers, AModelWithoutLayersSaysWhatToDo) {
  const auto layers = SelectLayers(ModelInfo{}, {});
  EXPECT_EQ(layers.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(layers.status().message()), HasSubstr("TorchScript"));
}

}  // namespace
}  // namespace adamant
