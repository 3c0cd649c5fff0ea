// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/attacks/apgd_schedule.h"
#include "core/attacks/losses.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"
#include "tests/support/torch/attacks.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MakeAttack;

AttackResult RunRefused(const Attack& attack, Model& model, const Batch& batch,
                        const ThreatModel& threat, testing::RefusingJudge& judge) {
  Victim victim(model);
  return attack.Run(
      victim, batch, threat,
      {.stream = "0:test", .judge = &judge, .clean_logits = model.Logits(batch.images)}, {});
}

TEST(ApgdBalls, ShrinkFromThreeEpsilonOverThirtyThirtyFortyPercent) {
  const auto parts = [](int64_t steps) {
    std::vector<int64_t> out;
    for (const ApgdBall& ball : ApgdBalls({Norm::kL1, 2}, steps)) {
      out.push_back(static_cast<int64_t>(ball.threat.epsilon));
      out.push_back(ball.first_step);
      out.push_back(ball.steps);
    }
    return out;
  };
  EXPECT_THAT(parts(100), ElementsAre(6, 0, 30, 4, 30, 30, 2, 60, 40));
  EXPECT_THAT(parts(12), ElementsAre(6, 0, 4, 4, 4, 4, 2, 8, 4));
  EXPECT_THAT(parts(1), ElementsAre(2, 0, 1));
  EXPECT_TRUE(ApgdBalls({Norm::kL1, 2}, 1).back().last);
}

TEST(ApgdWindows, HaveFourPercentUnderL1) {
  EXPECT_EQ(ApgdWindows(Norm::kL1, 30), std::vector<int64_t>(30, 1));
  EXPECT_EQ(ApgdWindows(Norm::kL1, 100), std::vector<int64_t>(25, 4));
}

// Draws of a model without noise are equal, so averaging them changes nothing.
TEST(Apgd, IsTheSameForAnyNumberOfDrawsOfADeterministicModel) {
  const auto model = testing::ToyMlp({1, 6, 6, 5});
  const Batch batch = testing::ToyBatch(*model, 6);
  for (const Norm norm : {Norm::kLinf, Norm::kL2, Norm::kL1}) {
    const ThreatModel threat{norm, norm == Norm::kLinf ? 0.05 : norm == Norm::kL2 ? 0.3 : 1.5};
    for (const char* name : {"apgd_ce", "apgd_dlr", "apgd_t"}) {
      testing::RefusingJudge judge;
      const AttackResult one = RunRefused(*MakeAttack(name, {{"steps", 10.0}, {"restarts", 1.0}}),
                                          *model, batch, threat, judge);
      const AttackResult five =
          RunRefused(*MakeAttack(name, {{"steps", 10.0}, {"restarts", 1.0}, {"eot", 5.0}}), *model,
                     batch, threat, judge);
      EXPECT_TRUE(one.images.equal(five.images)) << name << " " << NormName(norm);
      EXPECT_TRUE((one.counts.forwards * 5).equal(five.counts.forwards));
    }
  }
}

TEST(Apgd, TakesItsStepsOnceInEveryNorm) {
  const auto model = testing::ToyMlp({1, 6, 6, 5});
  const Batch batch = testing::ToyBatch(*model, 5);
  for (const Norm norm : {Norm::kLinf, Norm::kL2, Norm::kL1}) {
    testing::RefusingJudge judge;
    const AttackResult result =
        RunRefused(*MakeAttack("apgd_ce", {{"steps", 20.0}, {"restarts", 1.0}}), *model, batch,
                   {norm, 0.2}, judge);
    EXPECT_EQ(result.counts.steps.min().item<int64_t>(), 20);
    EXPECT_EQ(result.counts.steps.max().item<int64_t>(), 20);
  }
}

TEST(Apgd, ClaimsUnderL1OnlyInTheLastBall) {
  const auto model = testing::ToyMlp({1, 6, 6, 5});
  const Batch batch = testing::ToyBatch(*model, 20);
  testing::RefusingJudge judge;
  RunRefused(*MakeAttack("apgd_ce", {{"steps", 20.0}}), *model, batch, {Norm::kL1, 3}, judge);
  EXPECT_GT(judge.rows(), 0);
  for (const Claims& claims : judge.claims()) {
    EXPECT_GE(claims.step, 12);
    const at::Tensor change = claims.images - batch.images.index_select(0, claims.rows);
    EXPECT_LE(RowNorm(Norm::kL1, change).max().item<double>(), 3 * (1 + 1e-5));
  }
}

// The images that a model was asked about, in order.
class Recorder : public Model {
 public:
  explicit Recorder(Model& model) : model_(model) {}
  const ModelInfo& info() const override { return model_.info(); }
  at::Tensor Forward(const at::Tensor& images, const TapVisitor& visit) const override {
    seen.push_back(images.detach().clone());
    return model_.Forward(images, visit);
  }
  NamedTensors Parameters() const override { return model_.Parameters(); }
  NamedTensors Buffers() const override { return model_.Buffers(); }
  void Train(bool on) override { model_.Train(on); }
  bool training() const override { return model_.training(); }
  void To(const c10::Device& device) override { model_.To(device); }

  mutable std::vector<at::Tensor> seen;

 private:
  Model& model_;
};

TEST(Apgd, MovesTheLargestFifthOfTheValuesFirstUnderL1) {
  // d(z_1 - z_0)/dx = 1..10; epsilon .01: the first step of 3 epsilon goes in equal parts to the
  // two largest of ten values, that of the last ball to 2 / 1.5 of them, rounded down to one. The
  // ball of the next radius keeps 2/3 and 1/2 of it.
  const at::Tensor weight = at::stack({at::zeros({10}), at::arange(1, 11, at::kFloat)});
  const auto toy = testing::ToyLinear({1, 2, 5, 2}, weight, at::tensor({1000.0, 0.0}));
  Recorder model(*toy);
  const Batch batch{at::full({1, 1, 2, 5}, 0.5F), at::zeros({1}, at::kLong),
                    at::zeros({1}, at::kLong)};
  Victim victim(model);
  testing::RefusingJudge judge;
  MakeAttack("apgd_ce", {{"steps", 10.0}, {"restarts", 1.0}})
      ->Run(victim, batch, {Norm::kL1, 0.01},
            {.stream = "0:test", .judge = &judge, .start = batch.images}, {});
  const auto change = [&](size_t call) {
    const at::Tensor flat = (model.seen.at(call) - 0.5).flatten();
    return std::vector<float>(flat.data_ptr<float>(), flat.data_ptr<float>() + 10);
  };
  const auto near = [](double value) {
    return ::testing::FloatNear(static_cast<float>(value), 1e-6F);
  };
  const auto two = [&](double value) {
    std::vector<::testing::Matcher<float>> expected(10, near(0));
    expected[8] = expected[9] = near(value);
    return ::testing::ElementsAreArray(expected);
  };
  EXPECT_THAT(change(0), ::testing::Each(0));
  EXPECT_THAT(change(1), two(0.015));
  EXPECT_EQ(model.seen.size(), 13U);  // 3 + 3 + 4 steps, 3 starts
}

TEST(ApgdT, AimsAtTheClassesNextToTheLabelAsFarAsThereAreAny) {
  const auto model = testing::ToyMlp({1, 6, 6, 4});
  const Batch batch = testing::ToyBatch(*model, 12);
  const at::Tensor ranked = RankedClasses(model->Logits(batch.images));
  testing::RefusingJudge judge;
  const auto attack = MakeAttack("apgd_t", {{"steps", 10.0}});
  const AttackResult result = RunRefused(*attack, *model, batch, {Norm::kLinf, 0.5}, judge);
  EXPECT_EQ(result.counts.backwards[0].item<int64_t>(), 3 * 10);
  std::set<int64_t> ranks;
  for (const Claims& claims : judge.claims()) {
    // The label has rank 0 for every sample of a toy batch.
    const at::Tensor place =
        (ranked.index_select(0, claims.rows) == claims.targets.unsqueeze(1)).nonzero().select(1, 1);
    EXPECT_EQ(place.min().item<int64_t>(), place.max().item<int64_t>());
    ranks.insert(place.min().item<int64_t>());
  }
  EXPECT_THAT(ranks, ElementsAre(1, 2, 3));
  EXPECT_THAT(attack->Notes(4), ElementsAre(HasSubstr("3 targets were used")));
  EXPECT_TRUE(attack->Notes(10).empty());
}

// A label wins one of two draws out of two: the model alternates.
TEST(Apgd, ClaimsOnlyWhereTheLabelWinsFewerThanHalfOfTheDraws) {
  const ModelShape shape{1, 2, 2, 2};
  const Batch batch{at::full({1, 1, 2, 2}, 0.5F), at::zeros({1}, at::kLong),
                    at::zeros({1}, at::kLong)};
  for (const int64_t wins : {1, 2}) {  // of 4 draws
    int64_t call = 0;
    testing::ToyModel model(shape, [&](const at::Tensor& x, bool) {
      const double sign = call++ % 4 < wins ? 1 : -1;
      const at::Tensor z = x.flatten(1).sum(1);
      return at::stack({z + sign, 1 * z}, 1);
    });
    testing::RefusingJudge judge;
    RunRefused(*MakeAttack("apgd_ce", {{"steps", 5.0}, {"eot", 4.0}}), model, batch,
               {Norm::kLinf, 0.1}, judge);
    EXPECT_EQ(judge.rows(), wins == 1 ? 6 : 0);
  }
}

}  // namespace
}  // namespace adamant
