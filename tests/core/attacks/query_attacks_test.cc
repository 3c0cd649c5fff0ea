// SPDX-License-Identifier: Apache-2.0
// Attacks that see logits or decisions alone, on models whose answers are known.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/attacks/attack.h"
#include "core/attacks/losses.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"
#include "tests/support/torch/attacks.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using testing::MakeAttack;
using testing::ParamValues;
using testing::ToyBatch;
using testing::ToyPointer;

constexpr ModelShape kTwoClasses{1, 8, 8, 2};

AttackResult Craft(const Attack& attack, Model& model, const Batch& batch,
                   const ThreatModel& threat) {
  Victim victim(model, BatchNormMode::kEval, 16);
  return attack.Run(victim, batch, threat, {.stream = "0:test"}, {});
}

// Images around 0.5, so that the box is out of reach, with the model's predictions as labels.
Batch MiddleBatch(const Model& model, int64_t count) {
  Batch batch = ToyBatch(model, count);
  batch.images = batch.images * 0.2 + 0.4;
  batch.labels = Predictions(model.Logits(batch.images));
  return batch;
}

// Distances to the boundary of a linear model with two classes.
at::Tensor ClosedForm(const Model& model, const Batch& batch, Norm norm) {
  const at::Tensor w = model.Parameters()[0].second.to(at::kDouble);
  const at::Tensor own = w[0] - w[1];
  const at::Tensor z = model.Logits(batch.images).to(at::kDouble);
  const at::Tensor dual = norm == Norm::kLinf ? own.abs().sum() : own.square().sum().sqrt();
  return (z.select(1, 0) - z.select(1, 1)).abs() / dual;
}

int64_t Changed(const at::Tensor& image, const at::Tensor& clean) {
  return (image != clean).any(0).sum().item<int64_t>();
}

TEST(RandomNoise, DrawsOfEachDistributionHaveTheirSize) {
  const ToyPointer model = testing::ToyLinear({2, 4, 4, 3});
  const Batch batch = MiddleBatch(*model, 5);
  const auto change = [&](const std::string& distribution, Norm norm, double epsilon) {
    const auto attack =
        MakeAttack("random_noise", {{"draws", 1.0}, {"distribution", distribution}});
    return Craft(*attack, *model, batch, {norm, epsilon}).images - batch.images;
  };
  EXPECT_TRUE(at::allclose(change("sign", Norm::kLinf, 0.1).abs(), at::full_like(batch.images, 0.1),
                           1e-5, 1e-6));
  // 32 values: an L2 norm of 0.4 is 0.4 / sqrt(32) each, an L1 norm of 0.8 is 0.025 each.
  EXPECT_TRUE(at::allclose(change("sign", Norm::kL2, 0.4).abs(),
                           at::full_like(batch.images, 0.4 / std::sqrt(32.0)), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(change("sign", Norm::kL1, 0.8).abs(), at::full_like(batch.images, 0.025),
                           1e-5, 1e-6));
  for (const Norm norm : {Norm::kLinf, Norm::kL2, Norm::kL1}) {
    const at::Tensor size = RowNorm(norm, change("sphere", norm, 0.2));
    EXPECT_TRUE(at::allclose(size, at::full_like(size, 0.2), 1e-4, 1e-5)) << NormName(norm);
    const at::Tensor inside = RowNorm(norm, change("uniform", norm, 0.2));
    EXPECT_LE(inside.max().item<double>(), 0.2 * (1 + 1e-5)) << NormName(norm);
    EXPECT_GT(inside.min().item<double>(), 0) << NormName(norm);
  }
  const at::Tensor gaussian = change("gaussian", Norm::kL2, 0.2);
  EXPECT_LE(RowNorm(Norm::kL2, gaussian).max().item<double>(), 0.2 * (1 + 1e-5));
  EXPECT_GT(RowNorm(Norm::kL2, gaussian).min().item<double>(), 0.1);
}

TEST(SaltPepper, TurnsAsManyPixelsBlackOrWhiteAsAllowed) {
  const ToyPointer model = testing::ToyLinear({3, 5, 4, 3});
  const Batch batch = MiddleBatch(*model, 4);
  const at::Tensor images =
      Craft(*MakeAttack("salt_pepper", {{"draws", 3.0}}), *model, batch, {Norm::kL0, 7.5}).images;
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(Changed(images[i], batch.images[i]), 7);
    const at::Tensor moved = images[i].masked_select(images[i] != batch.images[i]);
    EXPECT_EQ(moved.numel(), 21);
    EXPECT_TRUE(((moved == 0).logical_or(moved == 1)).all().item<bool>());
  }
}

TEST(EstimatedGradient, BreaksWhatAGradientWouldBreakOnALinearModel) {
  const ToyPointer model = testing::ToyLinear(kTwoClasses);
  const Batch batch = MiddleBatch(*model, 12);
  const at::Tensor distance = ClosedForm(*model, batch, Norm::kLinf);
  const double epsilon = distance.max().item<double>() * 1.3;
  for (const std::string name : {"nes", "spsa"}) {
    const ParamValues params = name == "nes"
                                   ? ParamValues{{"queries", 4000.0}, {"n", 60.0}, {"s", 0.01}}
                                   : ParamValues{{"steps", 40.0}, {"n", 60.0}};
    const auto attack = MakeAttack(name, params);
    const AttackResult out = Craft(*attack, *model, batch, {Norm::kLinf, epsilon});
    const at::Tensor wrong = Predictions(model->Logits(out.images)) != batch.labels;
    EXPECT_TRUE(wrong.all().item<bool>()) << name;
  }
}

TEST(SparseRs, ColoursAsManyPixelsAsAllowedWhereTheShapeIs) {
  const ToyPointer model = testing::ToyLinear({3, 6, 5, 3});
  const Batch batch = MiddleBatch(*model, 4);
  const auto changed = [&](const std::string& shape, double epsilon) {
    const at::Tensor images = Craft(*MakeAttack("sparse_rs", {{"queries", 40.0}, {"shape", shape}}),
                                    *model, batch, {Norm::kL0, epsilon})
                                  .images;
    const at::Tensor moved = images != batch.images;
    const at::Tensor values = images.masked_select(moved);
    EXPECT_TRUE(((values == 0).logical_or(values == 1)).all().item<bool>()) << shape;
    return moved.any(1);  // [N,H,W]
  };
  const at::Tensor pixels = changed("pixels", 7);
  EXPECT_TRUE((pixels.flatten(1).sum(1) == 7).all().item<bool>());
  // A frame of width 1 of 6x5 has 18 pixels, of width 2 it has 28: 27 allow the former.
  const at::Tensor frame = changed("frame", 27);
  EXPECT_TRUE((frame.flatten(1).sum(1) == 18).all().item<bool>());
  EXPECT_FALSE(frame.narrow(1, 1, 4).narrow(2, 1, 3).any().item<bool>());
  // 11 pixels allow a square of side 3.
  const at::Tensor patch = changed("patch", 11);
  EXPECT_TRUE((patch.flatten(1).sum(1) == 9).all().item<bool>());
  EXPECT_TRUE((patch.any(1).sum(1) == 3).all().item<bool>());
  EXPECT_TRUE((patch.any(2).sum(1) == 3).all().item<bool>());
}

TEST(DecisionAttacks, ComeCloseToTheBoundaryOfALinearModel) {
  const ToyPointer model = testing::ToyLinear(kTwoClasses);
  const Batch batch = MiddleBatch(*model, 8);
  struct One {
    std::string name;
    ParamValues params;
    Norm norm;
    double factor;
  };
  const std::vector<One> all = {
      {"hopskipjump", {{"queries", 4000.0}}, Norm::kL2, 1.05},
      {"hopskipjump", {{"queries", 4000.0}}, Norm::kLinf, 1.3},
      {"boundary", {{"queries", 6000.0}, {"delta", 0.1}, {"eps", 0.1}}, Norm::kL2, 1.15},
      {"zoo", {{"queries", 8000.0}, {"lr", 0.005}, {"initial_const", 0.3}}, Norm::kL2, 1.15}};
  for (const One& one : all) {
    const AttackResult out =
        Craft(*MakeAttack(one.name, one.params), *model, batch, {one.norm, 0.1});
    const at::Tensor ratio = out.min_norm / ClosedForm(*model, batch, one.norm);
    EXPECT_GE(ratio.min().item<double>(), 0.999) << one.name;
    EXPECT_LE(ratio.median().item<double>(), one.factor) << one.name << " " << NormName(one.norm);
    const at::Tensor wrong = Predictions(model->Logits(out.images)) != batch.labels;
    EXPECT_TRUE(wrong.all().item<bool>()) << one.name;
  }
}

TEST(DecisionAttacks, StartFromCoarseNoiseWhereAllFineNoiseBelongsToTheLabel) {
  // Class 1 wins where the mean is .3 or more from .5: the mean of 64 uniform values has a
  // deviation of .036, that of 4 grains .14, that of a single one .29.
  testing::ToyModel model(kTwoClasses, [](const at::Tensor& images, bool) {
    const at::Tensor excess = (images.flatten(1).mean(1) - 0.5).abs() - 0.3;
    return at::stack({-excess, excess}, 1);
  });
  Batch batch = ToyBatch(*testing::ToyLinear(kTwoClasses), 4);
  batch.images = at::full_like(batch.images, 0.5);
  batch.labels = at::zeros({4}, at::kLong);
  for (const std::string name : {"boundary", "hopskipjump"}) {
    const auto attack = MakeAttack(name, {{"queries", 300.0}});
    const AttackResult out = Craft(*attack, model, batch, {Norm::kL2, 1});
    // The nearest image of class 1 changes every pixel by .3.
    EXPECT_GE(out.min_norm.min().item<double>(), 2.4 - 1e-5) << name;
    EXPECT_LE(out.min_norm.max().item<double>(), 4) << name;
  }
}

TEST(Pointwise, EndsWhereNoPixelCanGoBack) {
  const ToyPointer model = testing::ToyLinear(kTwoClasses);
  const Batch batch = MiddleBatch(*model, 6);
  const AttackResult out =
      Craft(*MakeAttack("pointwise", {{"queries", 3000.0}}), *model, batch, {Norm::kL0, 64});
  for (int64_t i = 0; i < batch.size(); ++i) {
    EXPECT_EQ(out.min_norm[i].item<double>(), Changed(out.images[i], batch.images[i]));
    const at::Tensor places = (out.images[i] != batch.images[i]).flatten().nonzero().squeeze(1);
    for (int64_t k = 0; k < places.numel(); ++k) {
      at::Tensor image = out.images[i].clone();
      image.flatten().index_copy_(
          0, places.narrow(0, k, 1),
          batch.images[i].flatten().index_select(0, places.narrow(0, k, 1)));
      EXPECT_EQ(Predictions(model->Logits(image.unsqueeze(0))).item<int64_t>(),
                batch.labels[i].item<int64_t>());
    }
  }
}

TEST(OnePixel, FindsTheOnePixelThatMatters) {
  // Class 1 wins where the pixel (2,3) exceeds 0.9; all images are grey.
  at::Tensor weight = at::zeros({2, 64}, at::kDouble);
  weight[1][2 * 8 + 3] = 1;
  const ToyPointer model =
      testing::ToyLinear(kTwoClasses, weight, at::tensor({0.9, 0.0}, at::kDouble));
  Batch batch = ToyBatch(*model, 3);
  batch.images = at::full_like(batch.images, 0.5);
  batch.labels = at::zeros({3}, at::kLong);
  const auto attack = MakeAttack("one_pixel", {{"population", 100.0}, {"generations", 30.0}});
  const AttackResult out = Craft(*attack, *model, batch, {Norm::kL0, 1});
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(Changed(out.images[i], batch.images[i]), 1);
    EXPECT_GT(out.images[i][0][2][3].item<float>(), 0.9F);
  }
}

// Probes go out of the ball and are misclassified there: neither a claim nor a result.
TEST(EstimatedGradient, NeverClaimsItsProbes) {
  const ToyPointer model = testing::ToyLinear(kTwoClasses);
  const Batch batch = MiddleBatch(*model, 12);
  const ThreatModel threat{Norm::kLinf,
                           0.5 * ClosedForm(*model, batch, Norm::kLinf).min().item<double>()};
  for (const std::string name : {"nes", "spsa"}) {
    const auto attack = name == "nes" ? MakeAttack(name, {{"queries", 1000.0}, {"s", 1.0}})
                                      : MakeAttack(name, {{"steps", 4.0}, {"delta", 1.0}});
    testing::RefusingJudge judge;
    Victim victim(*model, BatchNormMode::kEval, 16);
    const AttackResult out =
        attack->Run(victim, batch, threat, {.stream = "0:test", .judge = &judge}, {});
    EXPECT_EQ(judge.rows(), 0) << name;
    EXPECT_LE(RowNorm(Norm::kLinf, out.images - batch.images).max().item<double>(),
              threat.epsilon + 1e-6)
        << name;
  }
}

}  // namespace
}  // namespace adamant
