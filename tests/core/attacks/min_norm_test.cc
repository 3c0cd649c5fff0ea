// SPDX-License-Identifier: Apache-2.0
// Minimum-norm attacks against closed forms and pass counts.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/attacks/attack.h"
#include "core/attacks/losses.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"
#include "core/run/judge.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using testing::ToyBatch;
using testing::ToyPointer;

constexpr ModelShape kShape{1, 8, 8, 5};
constexpr int64_t kComputeBatch = 16;

using Numbers = std::vector<std::pair<std::string, double>>;

std::unique_ptr<Attack> Make(const std::string& name, const Numbers& numbers,
                             const std::vector<std::pair<std::string, bool>>& flags = {}) {
  v1::PluginSpec spec;
  spec.set_name(name);
  auto& params = *spec.mutable_params()->mutable_fields();
  for (const auto& [param, value] : numbers) params[param].set_number_value(value);
  for (const auto& [param, value] : flags) params[param].set_bool_value(value);
  auto attack = MakePlugin<Attack>(spec);
  EXPECT_TRUE(attack.ok()) << attack.status();
  return *std::move(attack);
}

// Images whose box is out of reach, and the distance of each to the nearest other class. L1, where
// one value does it all: the logits are 0 at the centre of the box, so that distances are small.
struct Linear {
  ToyPointer model;
  Batch batch;
  at::Tensor distance;  // double [N]
};

// `steep` multiplies the logits, which moves no boundary.
Linear LinearProblem(Norm norm, int64_t classes, int64_t count, double steep = 1) {
  Linear out;
  const ModelShape shape{1, 8, 8, classes};
  const ToyPointer any = testing::ToyLinear(shape);
  const at::Tensor weight = steep * any->Parameters()[0].second;
  const at::Tensor bias =
      norm == Norm::kL1 ? -weight.sum(1) / 2 : steep * any->Parameters()[1].second;
  out.model = testing::ToyLinear(shape, weight, bias);
  out.batch = ToyBatch(*out.model, count);
  out.batch.images = out.batch.images * 0.2 + 0.4;
  const at::Tensor z = out.model->Logits(out.batch.images).to(at::kDouble);
  out.batch.labels = Predictions(z);
  const at::Tensor w = out.model->Parameters()[0].second;
  const at::Tensor own = w.index_select(0, out.batch.labels).unsqueeze(1) - w;
  const at::Tensor dual = norm == Norm::kLinf ? own.abs().sum(2)
                          : norm == Norm::kL2 ? own.square().sum(2).sqrt()
                                              : own.abs().amax(2);
  const at::Tensor label = out.batch.labels.unsqueeze(1);
  out.distance = ((z.gather(1, label) - z) / dual.clamp_min(1e-12)).scatter(1, label, 1e9).amin(1);
  return out;
}

// An attack that finds the distance of a linear model to within `share`.
struct Exact {
  std::string attack;
  Norm norm;
  double share;
  Numbers params;
  double beyond = 0;  // and this much more
  double steep = 1;
  std::vector<int64_t> classes = {2, 5};
};

void PrintTo(const Exact& one, std::ostream* out) {
  *out << one.attack << " " << NormName(one.norm);
}

class MinimumNorm : public ::testing::TestWithParam<Exact> {};

TEST_P(MinimumNorm, IsTheDistanceToTheNearestPlaneOfALinearModel) {  // C17
  const Exact& one = GetParam();
  for (const int64_t classes : one.classes) {
    const Linear problem = LinearProblem(one.norm, classes, 40, one.steep);
    Victim victim(*problem.model);
    const AttackResult result = Make(one.attack, one.params)
                                    ->Run(victim, problem.batch, {one.norm, 1e3},
                                          {.stream = "0:test", .nearest = true}, {});
    for (int64_t i = 0; i < problem.batch.size(); ++i) {
      const double expected = problem.distance[i].item<double>();
      const double found = result.min_norm[i].item<double>();
      EXPECT_GE(found, expected * (1 - 1e-4)) << "K " << classes << " sample " << i;
      EXPECT_LE(found, expected * (1 + one.share) + one.beyond)
          << "K " << classes << " sample " << i;
    }
    const at::Tensor predicted = Predictions(problem.model->Logits(result.images));
    EXPECT_FALSE((predicted == problem.batch.labels).any().item<bool>());
  }
}

// ddn ascends cross-entropy, which on flat logits is a mixture of the planes of all classes;
// brendel_bethge stays on the plane that it starts on; alma's steps under L1 end as small as its
// last learning rate.
INSTANTIATE_TEST_SUITE_P(
    Attacks, MinimumNorm,
    ::testing::Values(
        Exact{"fab", Norm::kLinf, 0.01, {}}, Exact{"fab", Norm::kL2, 0.01, {}},
        Exact{"fab", Norm::kL1, 0.01, {}}, Exact{"fab_t", Norm::kLinf, 0.01, {}},
        Exact{"fab_t", Norm::kL2, 0.01, {}}, Exact{"fab_t", Norm::kL1, 0.01, {}},
        Exact{"cw_l2",
              Norm::kL2,
              0.02,
              {{"initial_const", 1}, {"binary_search_steps", 7}, {"max_iterations", 300}}},
        Exact{"deepfool", Norm::kLinf, 0.025, {}, 1e-4},
        Exact{"deepfool", Norm::kL2, 0.025, {}, 1e-4},
        Exact{"ddn", Norm::kL2, 0.02, {{"steps", 300}}, 0, 20}, Exact{"fmn", Norm::kLinf, 0.02, {}},
        Exact{"fmn", Norm::kL2, 0.02, {}}, Exact{"fmn", Norm::kL1, 0.02, {}},
        Exact{"alma", Norm::kL2, 0.02, {}},
        Exact{"alma", Norm::kL1, 0.02, {{"lr_init", 0.02}, {"lr_reduction", 1e-4}}, 0.025, 1, {2}},
        Exact{"pdpgd", Norm::kLinf, 0.02, {}}, Exact{"pdpgd", Norm::kL2, 0.02, {}},
        Exact{"pdpgd", Norm::kL1, 0.02, {}},
        Exact{"brendel_bethge", Norm::kLinf, 0.02, {{"start_draws", 20}}, 0, 1, {2}},
        Exact{"brendel_bethge", Norm::kL2, 0.02, {{"start_draws", 20}}, 0, 1, {2}}),
    [](const auto& one) { return one.param.attack + "_" + NormName(one.param.norm); });

TEST(FabT, CrossesThePlaneOfALinearModelInOneStep) {  // C24
  const Linear problem = LinearProblem(Norm::kLinf, 5, 20);
  Victim victim(*problem.model);
  const AttackResult result =
      Make("fab_t", {{"steps", 1}, {"n_targets", 1}})
          ->Run(victim, problem.batch, {Norm::kLinf, 1}, {.stream = "0:test"}, {});
  EXPECT_TRUE(at::isfinite(result.min_norm).all().item<bool>());
}

// What an attack costs a sample that stays robust.
struct Cost {
  at::Tensor forwards, backwards, extra;  // int64 [N]
};

Cost RobustCost(const Attack& attack, Model& toy, int64_t samples, const ThreatModel& threat) {
  testing::CountingModel model(toy);
  Batch batch = ToyBatch(toy, samples);
  const at::Tensor logits = toy.Logits(batch.images);
  FixedCaller caller(toy, kComputeBatch, [] {});
  VerifyingJudge judge(caller, batch, threat);
  Victim victim(model, BatchNormMode::kEval, kComputeBatch);
  const AttackResult result = attack.Run(
      victim, batch, threat, {.stream = "0:test", .judge = &judge, .clean_logits = logits}, {});
  for (int64_t i = 0; i < samples; ++i) EXPECT_FALSE(judge.finding(i).has_value()) << i;
  const SampleCounts& counts = result.counts;
  EXPECT_EQ(counts.forwards.sum().item<int64_t>(), victim.forwards());
  EXPECT_EQ(counts.backwards.sum().item<int64_t>(), victim.backwards());
  EXPECT_EQ(model.rows, victim.forwards() + victim.padded_rows());
  return {
      counts.forwards, counts.backwards,
      counts.extra_forwards.defined() ? counts.extra_forwards : at::zeros_like(counts.forwards)};
}

void ExpectAll(const at::Tensor& values, int64_t expected) {
  EXPECT_TRUE((values == expected).all().item<bool>()) << values;
}

TEST(Fab, CostsWhatTheTableSays) {  // C21
  const ToyPointer model = testing::ToyMlp(kShape);
  const ThreatModel tight{Norm::kLinf, 1e-4};
  const Cost fab = RobustCost(*Make("fab", {{"steps", 12}, {"restarts", 2}}), *model, 20, tight);
  ExpectAll(fab.forwards - fab.extra, 2 * (12 + 1));  // R(N+1) + a
  ExpectAll(fab.backwards, 2 * 12 * 4);               // RN(K-1)
  EXPECT_GT(fab.extra.sum().item<int64_t>(), 0);
  EXPECT_LE(fab.extra.max().item<int64_t>(), 2 * 11);  // iterates 1..N-1
  const Cost fab_t =
      RobustCost(*Make("fab_t", {{"steps", 12}, {"n_targets", 3}}), *model, 20, tight);
  ExpectAll(fab_t.forwards - fab_t.extra, 3 * (12 + 1));  // TR(N+1) + a
  ExpectAll(fab_t.backwards, 3 * 12);                     // TRN
}

// What an attack costs a sample whose logits never change.
struct Price {
  std::string attack;
  Norm norm;
  Numbers params;
  int64_t forwards, backwards;
};

TEST(MinimumNormAttacks, CostWhatTheTableSays) {       // C21
  const ToyPointer model = testing::ToyConst(kShape);  // K = 5, D = 64
  const Numbers search = {{"binary_search_steps", 3}, {"max_iterations", 7}};
  for (const Price& price : {
           Price{"cw_l2", Norm::kL2, {}, 9000, 8991},
           Price{"ddn", Norm::kL2, {}, 101, 100},
           Price{"fmn", Norm::kLinf, {}, 101, 100},
           Price{"cw_l2", Norm::kL2, search, 3 * 7, 3 * 6},    // S I, S (I - 1)
           Price{"ead", Norm::kL1, search, 2 * 3 * 7, 3 * 7},  // 2 S I, S I
           Price{"deepfool", Norm::kL2, {{"steps", 9}}, 9 + 1, 9 * 4},
           Price{"deepfool", Norm::kLinf, {{"steps", 9}, {"candidates", 3}}, 9 + 1, 9 * 2},
           Price{"ddn", Norm::kL2, {{"steps", 9}}, 9 + 1, 9},
           Price{"fmn", Norm::kL0, {{"steps", 9}}, 9 + 1, 9},
           Price{"newton_fool", Norm::kL2, {{"steps", 9}}, 9 + 1, 9},
           Price{"alma", Norm::kL2, {{"steps", 9}}, 9 + 1, 9},
           Price{"pdpgd", Norm::kLinf, {{"steps", 9}}, 9 + 1, 9},
           // Draws, halvings, steps.
           Price{"linear_blend", Norm::kL2, {{"directions", 4}}, 4 + 20, 0},
           Price{"brendel_bethge", Norm::kL2, {{"steps", 9}}, 9 + 1, 9},
           Price{"brendel_bethge", Norm::kLinf, {{"steps", 9}, {"start_draws", 4}}, 4 + 10 + 10, 9},
           Price{"jsma", Norm::kL0, {{"gamma", 0.2}}, 6 + 1, 2 * 6},  // N = 12.8 / 2
       }) {
    std::vector<std::pair<std::string, bool>> flags;
    if (price.attack == "cw_l2") flags = {{"abort_early", false}};
    const Cost cost =
        RobustCost(*Make(price.attack, price.params, flags), *model, 8, {price.norm, 1});
    SCOPED_TRACE(price.attack);
    ExpectAll(cost.forwards, price.forwards);
    ExpectAll(cost.backwards, price.backwards);
    ExpectAll(cost.extra, 0);
  }
}

// 1000 steps of one search, abort_early false: S I, S (I - 1).
TEST(CwL2, CostsAThousandPassesUnderThePresetOfItsPaper) {  // C21
  const ToyPointer model = testing::ToyConst(kShape);
  v1::PluginSpec spec;
  spec.set_name("cw_l2");
  (*spec.mutable_params()->mutable_fields())["preset"].set_string_value("cw_l2_adp");
  (*spec.mutable_params()->mutable_fields())["abort_early"].set_bool_value(false);
  const Cost cost = RobustCost(**MakePlugin<Attack>(spec), *model, 2, {Norm::kL2, 1});
  ExpectAll(cost.forwards, 1000);
  ExpectAll(cost.backwards, 999);
}

// The judge accepts the first image inside the threat model; searches, targets and restarts that
// follow still find nearer ones.
TEST(MinimumNormAttacks, GoOnPastAnAcceptedClaimToTheirOwnEnd) {
  struct Run {
    std::string attack;
    Norm norm;
    Numbers params;
  };
  for (const Run& one : {
           Run{"cw_l2",
               Norm::kL2,
               {{"initial_const", 10}, {"binary_search_steps", 4}, {"max_iterations", 40}}},
           Run{"ead",
               Norm::kL1,
               {{"initial_const", 10}, {"binary_search_steps", 3}, {"max_iterations", 10}}},
           Run{"fab_t", Norm::kLinf, {{"steps", 5}, {"n_targets", 3}, {"restarts", 2}}},
           Run{"fmn", Norm::kL0, {{"steps", 12}, {"restarts", 3}}},
           Run{"ddn", Norm::kL2, {{"steps", 15}}},
           Run{"alma", Norm::kL1, {{"steps", 30}}},
           Run{"pdpgd", Norm::kLinf, {{"steps", 30}}},
       }) {
    SCOPED_TRACE(one.attack);
    const ToyPointer model = testing::ToyMlp(kShape);
    const Batch batch = ToyBatch(*model, 12);
    const ThreatModel threat{one.norm, 20};
    const auto attack = Make(one.attack, one.params);
    const AttackSettings settings{
        .stream = "0:test", .nearest = true, .clean_logits = model->Logits(batch.images)};
    Victim victim(*model, BatchNormMode::kEval, kComputeBatch);
    const AttackResult alone = attack->Run(victim, batch, threat, settings, {});
    FixedCaller caller(*model, kComputeBatch, [] {});
    VerifyingJudge judge(caller, batch, threat);
    AttackSettings judged = settings;
    judged.judge = &judge;
    const AttackResult result = attack->Run(victim, batch, threat, judged, {});
    EXPECT_TRUE(result.min_norm.equal(alone.min_norm)) << result.min_norm << alone.min_norm;
    EXPECT_TRUE(result.images.equal(alone.images));
    EXPECT_TRUE(judge.finding(0).has_value());
  }
}

TEST(LinearBlend, EndsJustBeyondTheBoundaryOnTheWayToARandomImage) {
  const ToyPointer model = testing::ToyMlp(kShape);
  const Batch batch = ToyBatch(*model, 12);
  Victim victim(*model);
  const AttackResult result =
      Make("linear_blend", {})
          ->Run(victim, batch, {Norm::kL2, 8}, {.stream = "0:test", .nearest = true}, {});
  ASSERT_TRUE(at::isfinite(result.min_norm).all().item<bool>());
  EXPECT_FALSE((Predictions(model->Logits(result.images)) == batch.labels).any().item<bool>());
  const at::Tensor nearer = batch.images + 0.999 * (result.images - batch.images);
  EXPECT_TRUE(Predictions(model->Logits(nearer)).equal(batch.labels));
}

TEST(CwL2, HasThePresetOfItsPaper) {
  const Declaration& declaration = Registry<Attack>::All().at("cw_l2").declaration;
  ASSERT_EQ(declaration.presets.size(), 1U);
  EXPECT_EQ(declaration.presets[0].name, "cw_l2_adp");
  v1::PluginSpec spec;
  spec.set_name("cw_l2");
  (*spec.mutable_params()->mutable_fields())["preset"].set_string_value("cw_l2_adp");
  EXPECT_TRUE(MakePlugin<Attack>(spec).ok());
}

TEST(Jsma, ChangesThePairOfLargestSaliency) {
  // Two classes of three values; label 0, target 1: dz_1 = (1, 2, 3), dz_0 = (-1, -5, 1). The sums
  // over the pairs are (3, -6), (4, 0) and (5, -4): saliencies 18, none and 20.
  const at::Tensor weight = at::tensor({-1.0, -5.0, 1.0, 1.0, 2.0, 3.0}).view({2, 3});
  const ToyPointer model = testing::ToyLinear({1, 1, 3, 2}, weight, at::tensor({5.0, -3.0}));
  const Batch batch{at::full({1, 1, 1, 3}, 0.5), at::zeros({1}, at::kLong),
                    at::zeros({1}, at::kLong)};
  ASSERT_EQ(Predictions(model->Logits(batch.images))[0].item<int64_t>(), 0);  // 2.5 against 0
  Victim victim(*model);
  const AttackResult result =
      Make("jsma", {{"gamma", 1}})->Run(victim, batch, {Norm::kL0, 2}, {.stream = "0:test"}, {});
  EXPECT_TRUE(result.images.flatten().equal(at::tensor({0.5F, 1.0F, 1.0F})));
  EXPECT_EQ(result.min_norm[0].item<double>(), 2);
}

TEST(Fab, NeedsNoExtraPassWhereNothingIsAdversarial) {
  const ToyPointer model = testing::ToyConst(kShape);
  const Cost cost =
      RobustCost(*Make("fab_t", {{"steps", 12}, {"n_targets", 9}}), *model, 8, {Norm::kL2, 1});
  ExpectAll(cost.forwards, 4 * 13);  // K = 5: 4 targets
  ExpectAll(cost.backwards, 4 * 12);
}

}  // namespace
}  // namespace adamant
