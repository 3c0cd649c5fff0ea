// SPDX-License-Identifier: Apache-2.0
// Minimum-norm attacks on the trained nets against what other programs find there.
#include <gtest/gtest.h>

#include "core/attacks/losses.h"
#include "core/base/torch.h"
#include "tests/support/test_data.h"
#include "tests/support/torch/attacks.h"
#include "tests/support/torch/reference.h"

namespace adamant {
namespace {

// Distances that another program found on a trained net: the median, failures counting as infinite,
// and the mean of what was found.
struct Measured {
  std::string name;
  std::string checkpoint;
  std::string attack;
  Norm norm;
  int64_t every;  // of the 10 000 test images
  testing::ParamValues params;
  double median;
  double mean;
  double share;
};

void PrintTo(const Measured& one, std::ostream* out) { *out << one.name; }

class MeasuredDistances : public ::testing::TestWithParam<Measured> {};

Batch RightOfEvery(int64_t every, Victim& victim) {
  const Batch all = testing::MnistTestBatch(10000);
  const at::Tensor some = at::arange(0, 10000, every, at::kLong);
  const at::Tensor images = all.images.index_select(0, some);
  const at::Tensor labels = all.labels.index_select(0, some);
  const at::Tensor right = (Predictions(victim.Logits(images)) == labels).nonzero().squeeze(1);
  return {images.index_select(0, right), labels.index_select(0, right),
          all.ids.index_select(0, some).index_select(0, right)};
}

TEST_P(MeasuredDistances, SlowAreFoundHereAsWell) {
  REQUIRE_TEST_DATA();
  const Measured& one = GetParam();
  const auto model = testing::ReferenceModel(one.checkpoint);
  Victim victim(*model, BatchNormMode::kEval, 50);
  const Batch batch = RightOfEvery(one.every, victim);
  const AttackResult result =
      testing::MakeAttack(one.attack, one.params)
          ->Run(victim, batch, {one.norm, 100}, {.stream = "0:test", .nearest = true}, {});
  const at::Tensor found = result.min_norm.masked_select(at::isfinite(result.min_norm));
  const double median = std::get<0>(result.min_norm.sort())[batch.size() / 2].item<double>();
  const double mean = found.mean().item<double>();
  std::printf("%s: %ld of %ld, median %.4f mean %.4f\n", one.name.c_str(), found.size(0),
              batch.size(), median, mean);
  EXPECT_NEAR(median, one.median, one.share * one.median);
  EXPECT_NEAR(mean, one.mean, one.share * one.mean);
}

// The first three: what the nets' own library reports over all 10 000 images, which a twentieth of
// them reproduces to within 2 %. The others: the published update rules, written down a second time
// in another language, on the same images.
std::vector<Measured> AllMeasured() {
  const std::string cln = "mnist_lenet5_cln";
  const std::string adv = "mnist_lenet5_adv";
  const testing::ParamValues quantised = {{"steps", 300.0}, {"quantise", true}};
  const testing::ParamValues cw_search = {
      {"binary_search_steps", 5.0}, {"max_iterations", 150.0}, {"initial_const", 1.0}};
  const testing::ParamValues ead_search = {
      {"binary_search_steps", 3.0}, {"max_iterations", 100.0}, {"initial_const", 1.0}};
  return {
      {"fab_cln", cln, "fab", Norm::kLinf, 20, {{"steps", 20.0}}, 0.112, 0.1092, 0.02},
      {"fab_adv", adv, "fab", Norm::kLinf, 20, {{"steps", 20.0}}, 0.3509, 0.3476, 0.02},
      {"ddn_cln", cln, "ddn", Norm::kL2, 20, {{"steps", 300.0}}, 1.388, 1.380, 0.02},
      {"ddn_adv", adv, "ddn", Norm::kL2, 50, quantised, 1.7825, 1.8214, 0.02},
      {"cw_l2_cln", cln, "cw_l2", Norm::kL2, 200, cw_search, 2.0958, 2.0247, 0.002},
      {"ead_cln", cln, "ead", Norm::kL1, 200, ead_search, 9.3991, 10.2210, 0.002},
      {"newton_fool_cln", cln, "newton_fool", Norm::kL2, 200, {}, 1.4066, 1.4381, 0.002},
  };
}

INSTANTIATE_TEST_SUITE_P(Nets, MeasuredDistances, ::testing::ValuesIn(AllMeasured()),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace adamant
