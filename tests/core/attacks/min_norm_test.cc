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
#include "tests/support/test_data.h"
#include "tests/support/torch/reference.h"
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
      EXPECT_LE(found, expected * (1 + one.share)) << "K " << classes << " sample " << i;
    }
    const at::Tensor predicted = Predictions(problem.model->Logits(result.images));
    EXPECT_FALSE((predicted == problem.batch.labels).any().item<bool>());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Attacks, MinimumNorm,
    ::testing::Values(Exact{"fab", Norm::kLinf, 0.01, {}}, Exact{"fab", Norm::kL2, 0.01, {}},
                      Exact{"fab", Norm::kL1, 0.01, {}}, Exact{"fab_t", Norm::kLinf, 0.01, {}},
                      Exact{"fab_t", Norm::kL2, 0.01, {}}, Exact{"fab_t", Norm::kL1, 0.01, {}}),
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

TEST(Fab, NeedsNoExtraPassWhereNothingIsAdversarial) {
  const ToyPointer model = testing::ToyConst(kShape);
  const Cost cost =
      RobustCost(*Make("fab_t", {{"steps", 12}, {"n_targets", 9}}), *model, 8, {Norm::kL2, 1});
  ExpectAll(cost.forwards, 4 * 13);  // K = 5: 4 targets
  ExpectAll(cost.backwards, 4 * 12);
}

}  // namespace
}  // namespace adamant
