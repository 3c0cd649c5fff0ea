// SPDX-License-Identifier: Apache-2.0
// The universal change on a model whose best one is known.
#include <gtest/gtest.h>

#include "core/attacks/losses.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"
#include "tests/support/torch/attacks.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

class UniversalChange : public ::testing::TestWithParam<std::string> {};

// Two classes, samples of class 0 alone: the same change takes all of them over the one boundary.
TEST_P(UniversalChange, IsOneChangeThatBreaksEverySampleOfALinearClass) {
  const auto model = testing::ToyLinear({1, 6, 6, 2});
  Batch all = testing::ToyBatch(*model, 60);
  all.images = all.images * 0.2 + 0.4;  // the box is out of reach
  all.labels = Predictions(model->Logits(all.images));
  const at::Tensor of_class = (all.labels == all.labels[0]).nonzero().squeeze(1);
  const Batch batch{all.images.index_select(0, of_class), all.labels.index_select(0, of_class),
                    all.ids.index_select(0, of_class)};
  ASSERT_GT(batch.size(), 8);
  const at::Tensor w = model->Parameters()[0].second;
  const at::Tensor z = model->Logits(batch.images).to(at::kDouble);
  const double gap = (z.select(1, 0) - z.select(1, 1)).abs().max().item<double>();
  const at::Tensor plane = w.select(0, 0) - w.select(0, 1);
  for (const Norm norm : {Norm::kLinf, Norm::kL2}) {
    const double dual = norm == Norm::kL2 ? plane.square().sum().sqrt().item<double>()
                                          : plane.abs().sum().item<double>();
    const ThreatModel threat{norm, 1.3 * gap / dual};
    testing::RefusingJudge judge;
    Victim victim(*model);
    const AttackResult result =
        testing::MakeAttack("uap", {{"inner", GetParam()}, {"fooling_rate", 1.0}, {"passes", 20.0}})
            ->Run(victim, batch, threat, {.stream = "0:test", .judge = &judge}, {});
    EXPECT_EQ(judge.rows(), batch.size()) << NormName(norm);
    const at::Tensor change = result.images - batch.images;
    EXPECT_TRUE(at::allclose(change, change.narrow(0, 0, 1).expand_as(change), 0, 1e-6));
    EXPECT_LE(RowNorm(norm, change).max().item<double>(), threat.epsilon * (1 + 1e-6));
  }
}

INSTANTIATE_TEST_SUITE_P(Inner, UniversalChange, ::testing::Values("deepfool", "sgd_sign"),
                         [](const auto& one) { return one.param; });

// Earlier changes may have broken others: they do not count.
TEST(Uap, ClaimsWhatItsLastChangeBreaks) {
  const auto model = testing::ToyMlp({1, 6, 6, 4});
  const Batch batch = testing::ToyBatch(*model, 40);
  testing::RefusingJudge judge;
  Victim victim(*model);
  const AttackResult result =
      testing::MakeAttack("uap", {{"passes", 3.0}})
          ->Run(victim, batch, {Norm::kLinf, 0.1}, {.stream = "0:test", .judge = &judge}, {});
  const at::Tensor wrong = Predictions(model->Logits(result.images)) != batch.labels;
  ASSERT_EQ(judge.claims().size(), 1U);
  EXPECT_TRUE(judge.claims()[0].rows.equal(wrong.nonzero().squeeze(1)));
}

}  // namespace
}  // namespace adamant
