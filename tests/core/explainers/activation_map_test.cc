// SPDX-License-Identifier: Apache-2.0
#include "core/models/activation_map.h"

#include <gtest/gtest.h>

#include "tests/core/explainers/toy.h"

namespace adamant {
namespace {

// Global average pooling and a linear layer in double: logits [N,K] of activations [N,C,h,w].
at::Tensor GapHead(const at::Tensor& activations, const at::Tensor& weight) {
  return activations.mean({2, 3}).matmul(weight.t());
}

TEST(ActivationMap, WeighsTwoChannelsByHand) {
  // Channel 0 is [[1, 2], [3, 4]], channel 1 is 1 everywhere; 2 * A0 - 3 * A1.
  const at::Tensor activations =
      torch::stack({torch::tensor({{1.0, 2.0}, {3.0, 4.0}}), torch::ones({2, 2}, at::kDouble)})
          .unsqueeze(0);
  const at::Tensor map = WeightedMap(activations, torch::tensor({{2.0, -3.0}}));
  EXPECT_TRUE(torch::equal(map[0], torch::tensor({{-1.0, 1.0}, {3.0, 5.0}}))) << map;
}

TEST(ActivationMap, GradCamWeighsTheMeanGradientByHand) {
  // Score = A0[0,0] * 8: gradient 8 in one of 4 places, mean 2, and 0 for channel 1.
  at::Tensor activations =
      torch::tensor({1.0, 2.0, 3.0, 4.0, 9.0, 9.0, 9.0, 9.0}, at::kDouble).view({1, 2, 2, 2});
  activations.requires_grad_(true);
  const at::Tensor score = activations.select(1, 0).select(1, 0).select(1, 0) * 8;
  const auto gradients = ScoreGradients(score, {activations});
  const at::Tensor map = GradCamMap(activations.detach(), gradients[0]);
  EXPECT_TRUE(torch::equal(map[0], torch::tensor({{2.0, 4.0}, {6.0, 8.0}}))) << map;
}

TEST(ActivationMap, GradCamTimesAreaIsCamInDouble) {
  torch::manual_seed(0);
  const at::Tensor weight = torch::randn({10, 6}, at::kDouble);
  at::Tensor activations = torch::randn({4, 6, 5, 3}, at::kDouble).requires_grad_(true);
  const at::Tensor classes = torch::tensor({0, 3, 9, 3}, at::kLong);
  const at::Tensor scores = GapHead(activations, weight).gather(1, classes.unsqueeze(1)).squeeze(1);
  const auto gradients = ScoreGradients(scores, {activations});
  const at::Tensor cam = WeightedMap(activations.detach(), weight.index_select(0, classes));
  const at::Tensor grad_cam = GradCamMap(activations.detach(), gradients[0]);
  EXPECT_LT(RelativeDifference(15 * grad_cam, cam), 1e-10);
}

TEST(ActivationMap, GradientsCanBeDifferentiatedAgain) {
  at::Tensor activations = torch::full({1, 1, 1, 1}, 3.0, at::kDouble).requires_grad_(true);
  const at::Tensor score = activations.pow(3).flatten();
  const auto gradients = ScoreGradients(score, {activations}, /*create_graph=*/true);
  GradCamMap(activations, gradients[0]).sum().backward();  // d(3 a^2 * a)/da = 9 a^2
  EXPECT_NEAR(activations.grad().item<double>(), 81, 1e-9);
}

TEST(ActivationMap, AnUnusedTapHasNoGradient) {
  at::Tensor used = torch::ones({1}).requires_grad_(true);
  at::Tensor unused = torch::ones({1}).requires_grad_(true);
  EXPECT_FALSE(ScoreGradients(used * 2, {used, unused})[1].defined());
}

}  // namespace
}  // namespace adamant
