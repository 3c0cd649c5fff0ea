// SPDX-License-Identifier: Apache-2.0
// What a sample that stays robust costs: the table of attacks.md 6, on the counters of the attack
// and on a model that counts.
#include <gtest/gtest.h>

#include "core/base/torch.h"
#include "tests/support/torch/attacks.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

struct Cost {
  std::string attack;
  testing::ParamValues params;
  Norm norm;
  int64_t forwards;
  int64_t backwards;
  double epsilon = 0.3;
};

void PrintTo(const Cost& cost, std::ostream* out) {
  *out << cost.attack << " " << NormName(cost.norm) << " " << cost.forwards;
}

class PassCounts : public ::testing::TestWithParam<Cost> {};

TEST_P(PassCounts, OfARobustSample) {
  const Cost& cost = GetParam();
  const auto toy = testing::ToyMlp({1, 4, 4, 10});
  const Batch batch = testing::ToyBatch(*toy, 3);
  testing::CountingModel model(*toy);
  testing::RefusingJudge judge;
  Victim victim(model);
  const AttackResult result =
      testing::MakeAttack(cost.attack, cost.params)
          ->Run(victim, batch, {cost.norm, cost.epsilon},
                {.stream = "0:test", .judge = &judge, .clean_logits = toy->Logits(batch.images)},
                {});
  for (int64_t i = 0; i < batch.size(); ++i) {
    EXPECT_EQ(result.counts.forwards[i].item<int64_t>(), cost.forwards);
    EXPECT_EQ(result.counts.backwards[i].item<int64_t>(), cost.backwards);
  }
  EXPECT_EQ(model.rows, batch.size() * cost.forwards);
  EXPECT_EQ(model.backward_rows, batch.size() * cost.backwards);
}

INSTANTIATE_TEST_SUITE_P(
    , PassCounts,
    ::testing::Values(
        Cost{"fgsm", {}, Norm::kLinf, 1, 1},
        Cost{"fgsm", {{"restarts", 3.0}, {"random_start", true}}, Norm::kL2, 3, 3},
        Cost{"r_fgsm", {}, Norm::kLinf, 1, 1}, Cost{"step_ll", {}, Norm::kLinf, 1, 1},
        Cost{"bim", {}, Norm::kLinf, 11, 10}, Cost{"mi_fgsm", {}, Norm::kL2, 11, 10},
        Cost{"iter_step_ll", {}, Norm::kLinf, 11, 10},
        Cost{"iter_step_ll", {{"ll_refresh", true}}, Norm::kLinf, 11, 10},
        Cost{"ti_fgsm", {}, Norm::kLinf, 11, 10}, Cost{"pgd", {}, Norm::kLinf, 41, 40},
        Cost{"pgd", {{"restarts", 2.0}}, Norm::kL0, 82, 80},
        Cost{"pgd_margin", {}, Norm::kLinf, 41, 40}, Cost{"ni_fgsm", {}, Norm::kLinf, 20, 10},
        Cost{"di_fgsm", {}, Norm::kLinf, 20, 10}, Cost{"vmi_fgsm", {}, Norm::kLinf, 191, 190},
        Cost{"vni_fgsm", {}, Norm::kLinf, 200, 190}, Cost{"si_fgsm", {}, Norm::kLinf, 51, 50},
        Cost{"eot_pgd", {}, Norm::kLinf, 820, 800},
        Cost{"eot_pgd", {{"knowledge", "vanilla"}}, Norm::kLinf, 41, 40},
        Cost{"apgd_ce", {}, Norm::kLinf, 101, 100}, Cost{"apgd_ce", {}, Norm::kL2, 101, 100},
        Cost{"apgd_ce", {}, Norm::kL1, 515, 500},
        Cost{"apgd_ce", {{"eot", 3.0}}, Norm::kLinf, 303, 300},
        Cost{"apgd_dlr", {}, Norm::kLinf, 101, 100}, Cost{"apgd_t", {}, Norm::kLinf, 909, 900},
        Cost{"apgd_t", {{"steps", 10.0}}, Norm::kL1, 5 * 5 * 13, 5 * 5 * 10},
        Cost{"multi_targeted", {}, Norm::kLinf, 189, 180},
        // The toy's map has no closed form: one more gradient in each pass that needs it.
        Cost{"a3", {}, Norm::kLinf, 5, 7}, Cost{"a3", {{"base", "fgsm"}}, Norm::kLinf, 2, 3},
        Cost{"a3", {{"sigma", 0.0}}, Norm::kLinf, 4, 3},
        Cost{"adaptive_pc", {}, Norm::kLinf, 41, 40},
        Cost{"adaptive_map", {{"distance", "logit_l2"}}, Norm::kLinf, 41, 40},
        Cost{"adaptive_map", {{"distance", "feature_l2"}}, Norm::kLinf, 42, 40},
        Cost{"adaptive_map", {}, Norm::kLinf, 42, 81},
        Cost{"random_noise", {}, Norm::kLinf, 100, 0}, Cost{"salt_pepper", {}, Norm::kL0, 100, 0},
        // 99 steps of 101 passes, and the last iterate.
        Cost{"nes", {}, Norm::kLinf, 10000, 0}, Cost{"spsa", {}, Norm::kLinf, 25701, 0},
        Cost{"sparse_rs", {{"queries", 33.0}}, Norm::kL0, 33, 0, 3},
        Cost{"hopskipjump", {{"queries", 333.0}}, Norm::kL2, 333, 0},
        Cost{"boundary", {{"queries", 101.0}}, Norm::kL2, 101, 0},
        Cost{"zoo", {{"queries", 302.0}}, Norm::kL2, 302, 0},
        Cost{"pointwise", {{"queries", 250.0}}, Norm::kL0, 250, 0, 3},
        Cost{"one_pixel", {{"population", 30.0}, {"generations", 2.0}}, Norm::kL0, 90, 0, 3}));

// Attacks without a ball: the threat model is not theirs.
INSTANTIATE_TEST_SUITE_P(
    NoBall, PassCounts,
    ::testing::Values(Cost{"spatial", {}, Norm::kLinf, 775, 0},
                      Cost{"spatial", {{"mode", "worst_of_k"}}, Norm::kLinf, 10, 0},
                      Cost{"brightness_contrast", {{"steps", 10.0}}, Norm::kLinf, 31, 0},
                      Cost{"gaussian_blur", {{"steps", 10.0}}, Norm::kLinf, 10, 0},
                      Cost{"corruption", {}, Norm::kLinf, 1, 0},
                      Cost{"patch", {{"steps", 3.0}, {"eot", 4.0}}, Norm::kLinf, 13, 12}));

}  // namespace
}  // namespace adamant
