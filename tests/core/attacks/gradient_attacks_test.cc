// SPDX-License-Identifier: Apache-2.0
// One-step, momentum and projected gradient attacks: which equal which, and hand-computed steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/attacks/losses.h"
#include "core/attacks/steps.h"
#include "core/attacks/transforms.h"
#include "core/base/torch.h"
#include "core/models/random_model.h"
#include "tests/support/torch/attacks.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using testing::MakeAttack;
using testing::ParamValues;

constexpr ModelShape kShape{1, 6, 6, 5};

std::vector<float> Values(const at::Tensor& x) {
  const at::Tensor flat = x.contiguous().flatten();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

AttackResult Crafted(const std::string& name, const ParamValues& params, const ThreatModel& threat,
                     Model& model, const Batch& batch) {
  Victim victim(model);
  return MakeAttack(name, params)->Run(victim, batch, threat, {.stream = "0:test"}, {});
}

// Both attacks craft the same images, to the bit.
void ExpectEqual(const std::string& one, const ParamValues& one_params, const std::string& other,
                 const ParamValues& other_params, Norm norm = Norm::kLinf) {
  const auto model = testing::ToyMlp(kShape);
  const Batch batch = testing::ToyBatch(*model, 16);
  const ThreatModel threat{norm, norm == Norm::kLinf ? 0.06 : 0.4};
  const at::Tensor images = Crafted(one, one_params, threat, *model, batch).images;
  EXPECT_TRUE(images.equal(Crafted(other, other_params, threat, *model, batch).images))
      << one << " " << other << " " << NormName(norm);
  EXPECT_FALSE(images.equal(batch.images));
}

TEST(Equivalence, OnePgdStepOfEpsilonIsFgsm) {  // C24
  for (const Norm norm : {Norm::kLinf, Norm::kL2}) {
    ExpectEqual("fgsm", {}, "pgd",
                {{"steps", 1.0}, {"random_start", false}, {"step_rule", "eps_div_steps"}}, norm);
  }
}

TEST(Equivalence, BimIsPgdWithoutAStart) {  // C24
  for (const Norm norm : {Norm::kLinf, Norm::kL2}) {
    ExpectEqual("bim", {}, "pgd",
                {{"steps", 10.0}, {"random_start", false}, {"step_rule", "eps_div_steps"}}, norm);
  }
}

TEST(Equivalence, MomentumZeroIsBim) {  // C24
  ExpectEqual("mi_fgsm", {{"mu", 0.0}}, "bim", {});
  ExpectEqual("mi_fgsm", {{"mu", 0.0}}, "bim", {}, Norm::kL2);
  ExpectEqual("ni_fgsm", {{"mu", 0.0}}, "bim", {});
}

TEST(Equivalence, MomentumIsThatOfPgd) {
  ExpectEqual(
      "mi_fgsm", {}, "pgd",
      {{"steps", 10.0}, {"random_start", false}, {"step_rule", "eps_div_steps"}, {"mu", 1.0}});
}

TEST(Equivalence, FamilyFlagsThatAreOffChangeNothing) {
  ExpectEqual("di_fgsm", {{"prob", 0.0}}, "bim", {});
  ExpectEqual("di_fgsm", {{"prob", 1.0}, {"resize_low", 1.0}}, "bim", {});
  ExpectEqual("ti_fgsm", {{"kernel", 1.0}}, "bim", {});
  ExpectEqual("si_fgsm", {{"scales", 1.0}}, "mi_fgsm", {});
}

// Neighbours at distance 0 have the gradient itself: the variance is 0.
TEST(Equivalence, NeighboursAtNoDistanceChangeNothing) {
  ExpectEqual("vmi_fgsm", {{"beta", 0.0}, {"neighbours", 3.0}}, "mi_fgsm", {});
  ExpectEqual("vni_fgsm", {{"beta", 0.0}, {"neighbours", 3.0}}, "ni_fgsm", {});
}

TEST(Equivalence, OneDrawWithoutNoiseIsPgd) {  // C19, C24
  for (const char* knowledge : {"eot", "vanilla", "known_pattern", "oblivious"}) {
    ExpectEqual("eot_pgd", {{"m", 1.0}, {"knowledge", knowledge}}, "pgd", {});
  }
  ExpectEqual("eot_pgd", {{"m", 7.0}}, "pgd", {});
  ExpectEqual("eot_pgd", {{"m", 7.0}}, "pgd", {}, Norm::kL2);
}

TEST(Equivalence, PgdMarginIsPgdOnTheMargin) {
  ExpectEqual("pgd_margin", {}, "pgd", {{"loss", "margin"}});
}

TEST(Equivalence, StepLlIsTargetedFgsm) {
  ExpectEqual("step_ll", {}, "fgsm", {{"target", "least_likely"}});
  ExpectEqual("iter_step_ll", {}, "bim", {{"target", "least_likely"}});
}

// Steps that change no order of the logits keep the class, large ones do not.
TEST(IterStepLl, MayLookForTheLeastLikelyClassAgain) {
  const auto model = testing::ToyMlp(kShape);
  const Batch batch = testing::ToyBatch(*model, 16);
  const ThreatModel small{Norm::kLinf, 1e-5};
  EXPECT_TRUE(Crafted("iter_step_ll", {{"ll_refresh", true}}, small, *model, batch)
                  .images.equal(Crafted("iter_step_ll", {}, small, *model, batch).images));
  const ThreatModel large{Norm::kLinf, 0.5};
  EXPECT_FALSE(Crafted("iter_step_ll", {{"ll_refresh", true}}, large, *model, batch)
                   .images.equal(Crafted("iter_step_ll", {}, large, *model, batch).images));
}

TEST(RFgsm, StepsHalfOfEpsilonAtRandomAndHalfAlongTheGradient) {
  // d(z_1 - z_0)/dx = (1, -1): x' = x + .05 s + .05 (1, -1) with random signs s, so each value
  // moves by 0 or by .1 in the gradient's direction.
  const at::Tensor weight = at::tensor({0.0, 0.0, 1.0, -1.0}).view({2, 2});
  const auto model = testing::ToyLinear({1, 1, 2, 2}, weight, at::tensor({9.0, 0.0}));
  const Batch batch{at::full({40, 1, 1, 2}, 0.5F), at::zeros({40}, at::kLong),
                    at::arange(40, at::kLong)};
  const at::Tensor moved =
      (Crafted("r_fgsm", {}, {Norm::kLinf, 0.1}, *model, batch).images - 0.5).flatten(1);
  const at::Tensor along = moved.select(1, 0).abs() + moved.select(1, 1).abs();
  for (const float value : Values(along)) {
    EXPECT_TRUE(std::abs(value) < 1e-6 || std::abs(value - 0.1) < 1e-6 ||
                std::abs(value - 0.2) < 1e-6)
        << value;
  }
  EXPECT_GE(moved.select(1, 0).min().item<float>(), -1e-6);
  EXPECT_LE(moved.select(1, 1).max().item<float>(), 1e-6);
  EXPECT_GT(along.max().item<float>(), 0.19F);
  EXPECT_LT(along.min().item<float>(), 0.01F);
}

TEST(MomentumIterative, AddsNormalisedGradients) {
  const at::Tensor g = at::tensor({3.0F, -1.0F}).view({1, 1, 1, 2});
  const at::Tensor v = at::tensor({0.5F, 0.5F}).view({1, 1, 1, 2});
  EXPECT_THAT(Values(Accumulated(v, g, 0.5)), ElementsAre(1.0F, 0.0F));  // .25 + .75, .25 - .25
  EXPECT_THAT(Values(Accumulated({}, g, 0.5)), ElementsAre(0.75F, -0.25F));
  EXPECT_THAT(Values(Accumulated(v, g, 0)), ElementsAre(3.0F, -1.0F));
}

TEST(KurakinSteps, AreTenForEightOf255) {  // C29
  EXPECT_EQ(KurakinSteps(8.0 / 255), 10);
  EXPECT_EQ(KurakinSteps(4.0 / 255), 5);
  EXPECT_EQ(KurakinSteps(16.0 / 255), 20);
  EXPECT_EQ(KurakinSteps(32.0 / 255), 36);  // 255 eps + 4
  EXPECT_EQ(KurakinSteps(0.1 / 255), 1);
}

TEST(GaussianBlur, SpreadsAPointByTheOuterProductOfItsWeights) {
  at::Tensor x = at::zeros({1, 1, 5, 5});
  x[0][0][2][2] = 1;
  const at::Tensor blurred = GaussianBlur(x, 3);  // weights exp(-4.5), 1, exp(-4.5)
  const double side = std::exp(-4.5) / (1 + 2 * std::exp(-4.5));
  const double middle = 1 / (1 + 2 * std::exp(-4.5));
  EXPECT_NEAR(blurred[0][0][2][2].item<double>(), middle * middle, 1e-6);
  EXPECT_NEAR(blurred[0][0][2][1].item<double>(), middle * side, 1e-6);
  EXPECT_NEAR(blurred[0][0][1][1].item<double>(), side * side, 1e-6);
  EXPECT_NEAR(blurred.sum().item<double>(), 1, 1e-6);
  EXPECT_EQ(blurred[0][0][2][4].item<double>(), 0);
  x = at::rand({2, 3, 4, 6});
  EXPECT_TRUE(GaussianBlur(x, 1).equal(x));
  // A constant keeps its value where the whole kernel is inside.
  EXPECT_NEAR(GaussianBlur(at::ones({1, 1, 31, 31}), 15)[0][0][15][15].item<double>(), 1, 1e-6);
}

TEST(ResizeAndPad, ShrinksToNearestNeighboursAndPads) {
  // 4x4 -> sizes 2..3: drawn 0 -> 2x2 at the top left, from rows and columns 0 and 2.
  const at::Tensor x = at::arange(16, at::kFloat).view({1, 1, 4, 4}).repeat({3, 1, 1, 1});
  const at::Tensor drawn = at::tensor({0.0F, 0.0F, 0.0F, 0.0F,   // 2x2 at (0, 0)
                                       0.0F, 0.9F, 0.9F, 0.9F,   // 3x3 at (1, 1)
                                       0.7F, 0.0F, 0.0F, 0.0F})  // not chosen
                               .view({3, 4});
  const ResizeAndPad transform(drawn, 4, 4, 0.5, 0.5);
  const at::Tensor out = transform.Apply(x);
  EXPECT_THAT(Values(out[0]), ElementsAre(0, 2, 0, 0, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(Values(out[1]), ElementsAre(0, 0, 0, 0, 0, 0, 1, 2, 0, 4, 5, 6, 0, 8, 9, 10));
  EXPECT_TRUE(out[2].equal(x[2]));
  // PullBack is the transpose: <T x, g> = <x, T' g>.
  const at::Tensor g = at::arange(48, at::kFloat).view({3, 1, 4, 4});
  EXPECT_NEAR((out * g).sum().item<double>(), (x * transform.PullBack(g)).sum().item<double>(),
              1e-3);
}

TEST(ResizeAndPad, IsTheIdentityWhereThereIsNoSmallerSize) {
  const at::Tensor x = at::rand({2, 3, 5, 7});
  EXPECT_TRUE(ResizeAndPad(at::zeros({2, 4}), 5, 7, 1, 1).Apply(x).equal(x));
  const at::Tensor pixel = at::rand({2, 1, 1, 1});
  EXPECT_TRUE(ResizeAndPad(at::zeros({2, 4}), 1, 1, 1, 0.5).Apply(pixel).equal(pixel));
}

// Adds to z_0 what its noise says: drawn by key, or counted where nobody chooses.
class NoisyToy final : public testing::ToyModel, public RandomModel {
 public:
  explicit NoisyToy(double size)
      : ToyModel(kShape, [this, size, mlp = std::shared_ptr<ToyModel>(testing::ToyMlp(kShape))](
                             const at::Tensor& x, bool) {
          const at::Tensor z = mlp->Logits(x);
          return z + size * Noise(z);
        }) {}

  void SetNoise(const std::optional<ModelNoise>& noise) override { noise_ = noise; }

  mutable std::vector<ModelNoise> asked;

 private:
  at::Tensor Noise(const at::Tensor& z) const {
    if (!noise_.has_value() || noise_->silent) return at::zeros_like(z);
    asked.push_back(*noise_);
    EXPECT_EQ(noise_->ids.size(0), z.size(0));
    const at::Tensor out = at::empty(z.sizes());
    for (int64_t i = 0; i < z.size(0); ++i) {
      Rng(noise_->seed, noise_->stream, noise_->ids[i].item<int64_t>())
          .Normal(noise_->at, absl::MakeSpan(out.data_ptr<float>() + i * z.size(1),
                                             static_cast<size_t>(z.size(1))));
    }
    return out;
  }

  std::optional<ModelNoise> noise_;
};

TEST(EotPgd, DrawsTheNoiseOfEachSampleStepAndDraw) {
  NoisyToy model(0.5);
  const Batch batch = testing::ToyBatch(model, 6);
  const ThreatModel threat{Norm::kLinf, 0.05};
  const ParamValues params = {{"steps", 3.0}, {"m", 4.0}};
  const at::Tensor whole = Crafted("eot_pgd", params, threat, model, batch).images;
  ASSERT_EQ(model.asked.size(), 12U);
  EXPECT_EQ(model.asked[5].at.step, 1U);
  EXPECT_EQ(model.asked[5].at.draw, 1);
  EXPECT_EQ(model.asked[5].at.purpose, Purpose::kModelNoise);
  // A sample's noise does not depend on its neighbours, nor on the padding of calls.
  const Batch part{batch.images.narrow(0, 2, 3), batch.labels.narrow(0, 2, 3),
                   batch.ids.narrow(0, 2, 3)};
  EXPECT_TRUE(Crafted("eot_pgd", params, threat, model, part).images.equal(whole.narrow(0, 2, 3)));
  Victim padded(model, BatchNormMode::kEval, 4);
  EXPECT_TRUE(MakeAttack("eot_pgd", params)
                  ->Run(padded, batch, threat, {.stream = "0:test"}, {})
                  .images.equal(whole));
}

TEST(EotPgd, KnowsOfTheNoiseWhatItsKnowledgeSays) {
  NoisyToy model(0.5);
  const Batch batch = testing::ToyBatch(model, 6);
  const ThreatModel threat{Norm::kLinf, 0.05};
  const auto crafted = [&](const std::string& knowledge) {
    model.asked.clear();
    return Crafted("eot_pgd", {{"steps", 3.0}, {"m", 4.0}, {"knowledge", knowledge}}, threat, model,
                   batch)
        .images;
  };
  const auto base = testing::ToyMlp(kShape);
  EXPECT_TRUE(
      crafted("oblivious").equal(Crafted("pgd", {{"steps", 3.0}}, threat, *base, batch).images));
  EXPECT_TRUE(model.asked.empty());
  crafted("vanilla");
  EXPECT_EQ(model.asked.size(), 3U);
  EXPECT_EQ(model.asked[2].at.step, 2U);
  crafted("known_pattern");
  EXPECT_EQ(model.asked.size(), 3U);
  EXPECT_EQ(model.asked[2].at.step, 0U);
  EXPECT_EQ(model.asked[2].at.purpose, Purpose::kVerification);
}

TEST(MultiTargeted, ReachesTheClosedFormAgainstAllTargets) {  // C17
  for (const Norm norm : {Norm::kLinf, Norm::kL2}) {
    for (const char* optimizer : {"adam", "sgd_sign"}) {
      const auto model = testing::ToyLinear(kShape);
      Batch batch = testing::ToyBatch(*model, 40);
      batch.images = batch.images * 0.2 + 0.4;  // the box stays out of reach
      const at::Tensor z = model->Logits(batch.images).to(at::kDouble);
      batch.labels = z.argmax(1);
      const at::Tensor w = model->Parameters()[0].second;
      const at::Tensor own = w.index_select(0, batch.labels).unsqueeze(1) - w;
      const at::Tensor dual = norm == Norm::kLinf ? own.abs().sum(2) : own.square().sum(2).sqrt();
      const at::Tensor gap = z.gather(1, batch.labels.unsqueeze(1)) - z;
      const at::Tensor distance =
          (gap / dual.clamp_min(1e-12)).scatter(1, batch.labels.unsqueeze(1), 1e9).amin(1);
      const ThreatModel threat{norm, distance.median().item<double>()};
      const at::Tensor images =
          Crafted("multi_targeted", {{"keep", "first_success"}, {"optimizer", optimizer}}, threat,
                  *model, batch)
              .images;
      const at::Tensor broken = model->Logits(images).argmax(1) != batch.labels;
      for (int64_t i = 0; i < batch.size(); ++i) {
        const double d = distance[i].item<double>();
        if (std::abs(d / threat.epsilon - 1) < 0.01) continue;
        EXPECT_EQ(broken[i].item<bool>(), d < threat.epsilon)
            << NormName(norm) << " " << optimizer << " sample " << i;
      }
    }
  }
}

TEST(ToyMasked, HidesItsGradientFromEveryLoss) {
  const auto model = ToyMasked(kShape);
  const Batch batch = testing::ToyBatch(*model, 10);
  for (const char* loss : {"ce", "margin", "dlr"}) {
    testing::RefusingJudge judge;
    Victim victim(*model);
    const AttackResult result =
        MakeAttack("pgd", {{"loss", loss}, {"steps", 5.0}})
            ->Run(victim, batch, {Norm::kLinf, 0.1}, {.stream = "0:test", .judge = &judge}, {});
    EXPECT_TRUE(result.counts.zero_grads.equal(result.counts.backwards)) << loss;
  }
}

struct DefaultOf {
  const char* attack;
  const char* param;
  Param::Default value;
};

TEST(Defaults, AreThoseOfTheCatalogue) {  // C23
  const std::vector<DefaultOf> expected = {{"fgsm", "predicted_label", false},
                                           {"fgsm", "random_start", false},
                                           {"r_fgsm", "alpha_frac", 0.5},
                                           {"iter_step_ll", "steps", 10.0},
                                           {"iter_step_ll", "ll_refresh", false},
                                           {"iter_step_ll", "step_rule", "eps_div_steps"},
                                           {"bim", "steps", 10.0},
                                           {"bim", "step_rule", "eps_div_steps"},
                                           {"bim", "kurakin_rule", false},
                                           {"mi_fgsm", "mu", 1.0},
                                           {"mi_fgsm", "steps", 10.0},
                                           {"vmi_fgsm", "neighbours", 20.0},
                                           {"vmi_fgsm", "beta", 1.5},
                                           {"di_fgsm", "prob", 0.5},
                                           {"di_fgsm", "resize_low", 0.9},
                                           {"di_fgsm", "mu", 0.0},
                                           {"ti_fgsm", "kernel", 15.0},
                                           {"si_fgsm", "scales", 5.0},
                                           {"pgd", "steps", 40.0},
                                           {"pgd", "step_rule", "madry"},
                                           {"pgd", "random_start", true},
                                           {"pgd", "mu", 0.0},
                                           {"pgd_margin", "loss", "margin"},
                                           {"eot_pgd", "m", 20.0},
                                           {"eot_pgd", "knowledge", "eot"},
                                           {"multi_targeted", "steps", 20.0},
                                           {"multi_targeted", "n_targets", 9.0},
                                           {"multi_targeted", "optimizer", "adam"},
                                           {"apgd_ce", "steps", 100.0},
                                           {"apgd_ce", "rho", 0.75},
                                           {"apgd_ce", "eot", 1.0},
                                           {"apgd_dlr", "loss", "dlr"},
                                           {"apgd_t", "loss", "dlr_targeted"}};
  for (const DefaultOf& one : expected) {
    bool found = false;
    for (const Param& param : Registry<Attack>::All().at(one.attack).declaration.params) {
      if (param.name() != one.param) continue;
      found = true;
      EXPECT_EQ(param.ToProto().default_value().SerializeAsString(),
                ToValue(one.value).SerializeAsString())
          << one.attack << " " << one.param;
    }
    EXPECT_TRUE(found) << one.attack << " " << one.param;
  }
}

// Cross-entropy is flat to float32 at these margins, but not to a step along its log-odds.
TEST(GradientAttacks, BreakASaturatedModelOfTwoClasses) {  // C16
  const ModelShape shape{1, 6, 6, 2};
  const auto model = testing::ToySaturated(shape);
  const auto linear = testing::ToyLinear(shape);
  Batch batch = testing::ToyBatch(*model, 30);
  batch.images = batch.images * 0.2 + 0.4;
  const at::Tensor z = linear->Logits(batch.images).to(at::kDouble);
  batch.labels = z.argmax(1);
  const at::Tensor w = linear->Parameters()[0].second;
  const at::Tensor distance = (z.select(1, 0) - z.select(1, 1)).abs() / (w[0] - w[1]).abs().sum();
  const ThreatModel threat{Norm::kLinf, distance.median().item<double>()};
  for (const char* name :
       {"fgsm", "step_ll", "bim", "mi_fgsm", "ni_fgsm", "vmi_fgsm", "vni_fgsm", "si_fgsm",
        "iter_step_ll", "pgd", "pgd_margin", "eot_pgd", "apgd_ce", "apgd_t", "multi_targeted"}) {
    const at::Tensor images = Crafted(name, {{"keep", "best_loss"}}, threat, *model, batch).images;
    const at::Tensor broken = model->Logits(images).argmax(1) != batch.labels;
    for (int64_t i = 0; i < batch.size(); ++i) {
      const double d = distance[i].item<double>();
      if (std::abs(d / threat.epsilon - 1) < 0.02) continue;
      EXPECT_EQ(broken[i].item<bool>(), d < threat.epsilon) << name << " sample " << i;
    }
  }
}

}  // namespace
}  // namespace adamant
