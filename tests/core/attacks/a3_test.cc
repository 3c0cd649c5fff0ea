// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "core/attacks/attack.h"
#include "core/attacks/losses.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"
#include "core/models/activation_map.h"
#include "core/models/model_file.h"
#include "tests/support/test_data.h"
#include "tests/support/torch/attacks.h"
#include "tests/support/torch/map_models.h"
#include "tests/support/torch/reference.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using testing::FourPixels;
using testing::MakeAttack;
using testing::MapModel;
using testing::MiniGap;
using testing::ParamValues;
using testing::RefusingJudge;
using testing::ToyBatch;
using testing::ToyMlp;
using testing::ToyPointer;

constexpr double kEpsilon = 0.05;

AttackResult Craft(const Attack& attack, Model& model, const Batch& batch,
                   double epsilon = kEpsilon, Judge* judge = nullptr) {
  Victim victim(model);
  return attack.Run(
      victim, batch, {Norm::kLinf, epsilon},
      {.stream = "0:test", .judge = judge, .clean_logits = victim.Logits(batch.images)}, {});
}

TEST(A3, EqualsItsBaseToTheBitWithoutAttention) {
  const std::unique_ptr<Model> model = MiniGap({1, 8, 8, 5});
  const ToyPointer toy = ToyMlp({1, 8, 8, 5});
  for (Model* each : {model.get(), static_cast<Model*>(toy.get())}) {
    const Batch batch = ToyBatch(*each, 20);
    const auto expect_equal = [&](const ParamValues& a3, const std::string& base,
                                  const ParamValues& params) {
      const AttackResult got = Craft(*MakeAttack("a3", a3), *each, batch);
      const AttackResult expected = Craft(*MakeAttack(base, params), *each, batch);
      EXPECT_TRUE(got.images.equal(expected.images)) << base;
      EXPECT_TRUE(got.counts.forwards.equal(expected.counts.forwards)) << base;
      EXPECT_TRUE(got.counts.backwards.equal(expected.counts.backwards)) << base;
      EXPECT_FALSE(got.images.equal(batch.images)) << base;
    };
    expect_equal({{"sigma", 0.0}}, "pgd", {{"steps", 3.0}, {"step_rule", "eps_div_steps"}});
    expect_equal({{"sigma", 0.0}, {"base", "fgsm"}}, "fgsm", {});
    expect_equal({{"sigma", 0.0}, {"base", "step_ll"}}, "step_ll", {});
    expect_equal({{"sigma", 0.0}, {"base", "iter_step_ll"}}, "iter_step_ll", {{"steps", 3.0}});
  }
}

TEST(A3, FollowsTheGradientOfAHandComputedMap) {
  // Grad-CAM of class 0 is (3 x - 1) / 4: 0 .05 .2 .35 behind the ReLU, mean .15, so that M is 0 0
  // 1 1 and the scaled map 0 1/7 4/7 1. The distance 1/7 grows with the second pixel, falls with
  // the third, and grows with the last one, which the map is divided by. The first pixel moves the
  // map nowhere: there cross-entropy decides, which falls with every pixel.
  MapModel model({{2, -1}, {0, 1}}, {1, 0});
  const Batch batch = FourPixels();
  const at::Tensor map = LogitMap({}, model.ForwardWithTaps(batch.images, {"maps"}).taps["maps"],
                                  batch.labels, model.GapHead().first)
                             .relu();
  EXPECT_TRUE(map.flatten().allclose(torch::tensor({0.F, 0.05F, 0.2F, 0.35F})));
  const at::Tensor expected = torch::tensor({-1.F, 1.F, -1.F, 1.F}).view({1, 1, 2, 2});
  for (const bool gap : {true, false}) {
    model.set_gap(gap);
    const AttackResult strong =
        Craft(*MakeAttack("a3", {{"base", "fgsm"}, {"sigma", 10000.0}}), model, batch);
    EXPECT_TRUE((strong.images - batch.images).allclose(kEpsilon * expected)) << gap;
    const AttackResult weak =
        Craft(*MakeAttack("a3", {{"base", "fgsm"}, {"sigma", 0.0001}}), model, batch);
    EXPECT_TRUE(weak.images.allclose(batch.images - kEpsilon)) << gap;
    const AttackResult balanced =
        Craft(*MakeAttack("a3", {{"base", "fgsm"}, {"sigma", 100.0}, {"balance", "grad_l1"}}),
              model, batch);
    EXPECT_TRUE((balanced.images - batch.images).allclose(kEpsilon * expected)) << gap;
    // From kappa 0.1 on M is 0 1 1 1: the second pixel now lowers the distance.
    const AttackResult given = Craft(
        *MakeAttack(
            "a3", {{"base", "fgsm"}, {"sigma", 10000.0}, {"kappa", "value"}, {"kappa_value", 0.1}}),
        model, batch);
    EXPECT_LT(given.images.flatten()[1].item<float>(), 0.4F) << gap;
    // The least likely class is 1, also wanted by leaving 0.
    const AttackResult least =
        Craft(*MakeAttack("a3", {{"base", "step_ll"}, {"sigma", 10000.0}}), model, batch);
    EXPECT_TRUE(least.images.equal(strong.images)) << gap;
  }
}

TEST(A3, MovesAttentionFurtherWithMoreWeight) {
  const std::unique_ptr<Model> model = MiniGap({1, 16, 16, 5});
  const Batch batch = ToyBatch(*model, 40);
  const auto attention = [&](const at::Tensor& images) {
    const at::NoGradGuard no_grad;
    return LogitMap({}, model->ForwardWithTaps(images, {"a4"}).taps["a4"], batch.labels,
                    model->GapHead().first)
        .relu();
  };
  const at::Tensor clean = attention(batch.images);
  const at::Tensor mask = clean >= clean.mean({1, 2}, true);
  for (const char* base : {"fgsm", "pgd", "step_ll", "iter_step_ll"}) {
    double before = -1;
    for (const double sigma : {0, 1, 10}) {  // at 1000, iter_step_ll moves it no further
      const auto attack = MakeAttack("a3", {{"base", base}, {"steps", 6.0}, {"sigma", sigma}});
      const at::Tensor moved = attention(Craft(*attack, *model, batch).images);
      const double distance =
          (mask.to(at::kFloat) - MinMaxScaled(moved)).abs().mean().item<double>();
      EXPECT_GT(distance, before) << base << " " << sigma;
      before = distance;
    }
  }
}

TEST(A3, MovesTheAttentionOfARealNetworkAndRefusesOneWithoutLayers) {
  REQUIRE_TEST_DATA();
  const auto model = testing::ReferenceModel("mnist_lenet5_adv");
  const Batch batch = testing::MnistTestBatch(20);
  const at::Tensor classes = Predictions(model->Logits(batch.images)).detach();
  const std::string tap = model->info().default_tap;
  const auto attention = [&](const at::Tensor& images) {
    const at::Tensor x = images.clone().requires_grad_(true);
    const Outputs seen = model->ForwardWithTaps(x, {tap});
    return MinMaxScaled(LogitMap(seen.logits, seen.taps.at(tap), classes).relu()).detach();
  };
  const at::Tensor clean = attention(batch.images);
  const at::Tensor mask = (clean >= clean.mean({1, 2}, true)).to(at::kFloat);
  for (const char* base : {"fgsm", "pgd"}) {
    const auto distance = [&](double sigma) {
      const auto attack = MakeAttack(
          "a3", {{"base", base}, {"sigma", sigma}, {"steps", 10.0}, {"random_start", false}});
      return (mask - attention(Craft(*attack, *model, batch, 0.3).images))
          .abs()
          .mean()
          .item<double>();
    };
    EXPECT_GT(distance(10), distance(0) + 0.005) << base;
  }
  const auto program =
      OpenModel({.shape = {1, 28, 28, 10},
                 .file = *FileView::Open(testing::TestDataFolder() +
                                         "/checkpoints/mnist_lenet5_adv.scripted.pt")});
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_EQ(MakeAttack("a3")->CheckModel(**program),
            absl::FailedPreconditionError("a TorchScript model names no layer with maps to look "
                                          "at; use a safetensors model of a known architecture"));
}

TEST(A3, CountsMapsThatAreZero) {
  // The map of class 0 is (4 x - 1) / 4: nothing behind the ReLU for pixels below 1/4.
  MapModel model({{3, -1}, {0, 0}}, {5, 0});
  const at::Tensor images = at::cat({FourPixels().images, at::full({1, 1, 2, 2}, 0.1F)});
  const Batch batch{images, torch::zeros({2}, at::kLong), at::arange(2, at::kLong)};
  for (const bool gap : {true, false}) {
    model.set_gap(gap);
    const AttackResult result = Craft(*MakeAttack("a3"), model, batch);
    EXPECT_TRUE(result.counts.empty_maps.equal(torch::tensor({0, 1}, at::kLong)));
    EXPECT_TRUE(at::isfinite(result.images).all().item<bool>());
  }
}

TEST(A3, TakesOnePassMoreThanItsBase) {
  struct Expected {
    const char* base;
    int64_t forwards, backwards, autograd_backwards;
  };
  for (const Expected& each : {Expected{"pgd", 5, 3, 7}, Expected{"iter_step_ll", 5, 3, 7},
                               Expected{"fgsm", 2, 1, 3}, Expected{"step_ll", 2, 1, 3}}) {
    MapModel model({{2, -1}, {0, 1}}, {1, 0});
    for (const bool gap : {true, false}) {
      model.set_gap(gap);
      const int64_t rows_before = model.rows();
      RefusingJudge judge;
      const auto attack = MakeAttack("a3", {{"base", each.base}});
      const SampleCounts counts = Craft(*attack, model, FourPixels(), 0.3, &judge).counts;
      EXPECT_EQ(counts.forwards.item<int64_t>(), each.forwards) << each.base;
      EXPECT_EQ(model.rows() - rows_before, each.forwards + 1) << each.base;  // and the clean one
      EXPECT_EQ(counts.backwards.item<int64_t>(), gap ? each.backwards : each.autograd_backwards)
          << each.base;
    }
  }
}

TEST(A3, DifferentiatesTheWeightsOfTheMap) {
  // z_c = sum_k W[c,k] mean(A_k^2) has weights W[c,k] * 2 mean(A_k) / cells.
  MapModel model({{2, -1}, {0, 1}}, {1, 0});
  model.set_squares(true);
  const at::Tensor classes = torch::zeros({1}, at::kLong);
  const at::Tensor x = FourPixels().images.requires_grad_(true);
  const Outputs seen = model.ForwardWithTaps(x, {"maps"});
  const at::Tensor maps = seen.taps.at("maps");
  const at::Tensor weights = model.weight().index_select(0, classes);
  const at::Tensor expected = WeightedMap(maps, weights * 2 * maps.mean({2, 3}) / 4);
  const auto gradient = [&](const at::Tensor& map) {
    return torch::autograd::grad({map.select(1, 0).sum()}, {x}, {}, /*retain_graph=*/true)[0];
  };
  const at::Tensor got = LogitMap(seen.logits, maps, classes);
  EXPECT_TRUE(got.allclose(expected));
  EXPECT_TRUE(gradient(got).allclose(gradient(expected)));
  const at::Tensor constant = LogitMap(seen.logits, maps, classes, {}, /*constant_weights=*/true);
  EXPECT_TRUE(constant.allclose(expected));
  EXPECT_FALSE(gradient(constant).allclose(gradient(expected)));
}

TEST(A3, NeedsALayerWithMaps) {
  MapModel model({{2, -1}, {0, 1}}, {1, 0});
  model.set_default_tap("");
  const auto attack = MakeAttack("a3");
  EXPECT_EQ(attack->CheckModel(model).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THROW(Craft(*attack, model, FourPixels()), std::invalid_argument);
  EXPECT_TRUE(MakeAttack("a3", {{"sigma", 0.0}})->CheckModel(model).ok());
  EXPECT_EQ(testing::MakeAttackOr("a3", {{"base", "step_ll"}, {"target", "next"}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace adamant
