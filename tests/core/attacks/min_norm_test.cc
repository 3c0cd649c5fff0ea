// SPDX-License-Identifier: Apache-2.0
// Minimum-norm attacks against closed forms, pass counts and reference numbers.
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

Linear LinearProblem(Norm norm, int64_t classes, int64_t count) {
  Linear out;
  const ModelShape shape{1, 8, 8, classes};
  const ToyPointer any = testing::ToyLinear(shape);
  const at::Tensor weight = any->Parameters()[0].second;
  const at::Tensor bias = norm == Norm::kL1 ? -weight.sum(1) / 2 : any->Parameters()[1].second;
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
};

void PrintTo(const Exact& one, std::ostream* out) {
  *out << one.attack << " " << NormName(one.norm);
}

class MinimumNorm : public ::testing::TestWithParam<Exact> {};

TEST_P(MinimumNorm, IsTheDistanceToTheNearestPlaneOfALinearModel) {  // C17
  const Exact& one = GetParam();
  for (const int64_t classes : {2, 5}) {
    const Linear problem = LinearProblem(one.norm, classes, 40);
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

INSTANTIATE_TEST_SUITE_P(
    Attacks, MinimumNorm,
    ::testing::Values(Exact{"fab", Norm::kLinf, 0.01, {}}, Exact{"fab", Norm::kL2, 0.01, {}},
                      Exact{"fab", Norm::kL1, 0.01, {}}, Exact{"fab_t", Norm::kLinf, 0.01, {}},
                      Exact{"fab_t", Norm::kL2, 0.01, {}}, Exact{"fab_t", Norm::kL1, 0.01, {}},
                      Exact{"deepfool", Norm::kLinf, 0.025, {}, 1e-4},
                      Exact{"deepfool", Norm::kL2, 0.025, {}, 1e-4}),
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
  for (const Price& price : {
           Price{"deepfool", Norm::kL2, {{"steps", 9}}, 9 + 1, 9 * 4},
           Price{"deepfool", Norm::kLinf, {{"steps", 9}, {"candidates", 3}}, 9 + 1, 9 * 2},
           Price{"jsma", Norm::kL0, {{"gamma", 0.2}}, 6 + 1, 2 * 6},  // N = 12.8 / 2
       }) {
    const Cost cost = RobustCost(*Make(price.attack, price.params), *model, 8, {price.norm, 1});
    SCOPED_TRACE(price.attack);
    ExpectAll(cost.forwards, price.forwards);
    ExpectAll(cost.backwards, price.backwards);
    ExpectAll(cost.extra, 0);
  }
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
