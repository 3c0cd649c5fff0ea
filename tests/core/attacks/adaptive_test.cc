// SPDX-License-Identifier: Apache-2.0
// Attacks that are adapted to a defence: adaptive_map and adaptive_pc.
#include <gtest/gtest.h>

#include <cmath>

#include "core/attacks/attack.h"
#include "core/attacks/losses.h"
#include "core/base/torch.h"
#include "core/models/activation_map.h"
#include "core/models/model_file.h"
#include "core/models/prototypes.h"
#include "core/models/safetensors.h"
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

using Names = std::vector<std::string>;

constexpr double kEpsilon = 0.05;

AttackResult Craft(const Attack& attack, Model& model, const Batch& batch,
                   double epsilon = kEpsilon, Judge* judge = nullptr) {
  Victim victim(model);
  return attack.Run(
      victim, batch, {Norm::kLinf, epsilon},
      {.stream = "0:test", .judge = judge, .clean_logits = victim.Logits(batch.images)}, {});
}

// Cross-entropy of label 0 grows with every pixel: z_0 - z_1 = 6 - 3 m.
MapModel Rising() { return MapModel({{-2, 1}, {0, 0}}, {5, 0}); }

NamedTensors PaperPrototypes() {
  return {{"objective.pcl.maps.prototypes", torch::tensor({{1.F, 0.F}, {0.F, 1.F}})}};
}

void ExpectEqual(Model& model, const std::string& name, const ParamValues& params,
                 const std::string& base, const ParamValues& base_params) {
  const Batch batch = ToyBatch(model, 20);
  const AttackResult got = Craft(*MakeAttack(name, params), model, batch);
  const AttackResult expected = Craft(*MakeAttack(base, base_params), model, batch);
  EXPECT_TRUE(got.images.equal(expected.images)) << name << " " << base;
  EXPECT_TRUE(got.counts.forwards.equal(expected.counts.forwards)) << name << " " << base;
  EXPECT_FALSE(got.images.equal(batch.images)) << name << " " << base;
}

TEST(Adaptive, EqualsItsBaseToTheBitWithoutWeight) {
  const std::unique_ptr<Model> model = MiniGap({1, 8, 8, 5});
  ExpectEqual(*model, "adaptive_map", {{"w", 0.0}}, "pgd", {});
  ExpectEqual(*model, "adaptive_pc", {{"w", 0.0}}, "pgd", {});
  ExpectEqual(*model, "adaptive_pc", {{"w", 0.0}, {"base", "fgsm"}}, "fgsm", {});
  ExpectEqual(*model, "adaptive_pc", {{"w", 0.0}, {"base", "bim"}, {"steps", 10.0}}, "bim",
              {{"step_rule", "madry"}});
  ExpectEqual(*model, "adaptive_pc", {{"w", 0.0}, {"base", "mi_fgsm"}, {"steps", 10.0}}, "mi_fgsm",
              {{"step_rule", "madry"}});
}

TEST(AdaptiveMap, MovesEachDistanceFurtherWithMoreWeight) {
  const std::unique_ptr<Model> model = MiniGap({1, 16, 16, 5});
  const Batch batch = ToyBatch(*model, 20);
  const auto feature = [&](const std::string& distance, const at::Tensor& images) {
    const at::NoGradGuard no_grad;
    const Outputs seen = model->ForwardWithTaps(images, {"a4"});
    const at::Tensor maps = seen.taps.at("a4");
    if (distance == "logit_l2") return seen.logits;
    if (distance == "feature_l2") return maps;
    if (distance == "spatial_attention") return SpatialAttention(maps);
    return CamMap(*model, maps, batch.labels).relu();
  };
  for (const std::string distance : {"cam_l1", "spatial_attention", "feature_l2", "logit_l2"}) {
    double before = -1;
    for (const double weight : {0, 1000}) {
      const auto attack =
          MakeAttack("adaptive_map", {{"steps", 6.0}, {"distance", distance}, {"w", weight}});
      const at::Tensor change =
          feature(distance, Craft(*attack, *model, batch).images) - feature(distance, batch.images);
      const double size =
          change.flatten(1).norm(distance == "cam_l1" ? 1 : 2, {1}).mean().item<double>();
      EXPECT_GT(size, before) << distance << " " << weight;
      before = size;
    }
  }
}

TEST(AdaptiveMap, MovesTheMapsOfARealNetwork) {
  REQUIRE_TEST_DATA();
  const auto model = testing::ReferenceModel("mnist_lenet5_adv");
  const Batch batch = testing::MnistTestBatch(20);
  const std::string tap = model->info().default_tap;
  const auto maps = [&](const at::Tensor& images) {
    const at::NoGradGuard no_grad;
    return SpatialAttention(model->ForwardWithTaps(images, {tap}).taps.at(tap));
  };
  const auto change = [&](double weight) {
    const auto attack = MakeAttack(
        "adaptive_map", {{"w", weight}, {"distance", "spatial_attention"}, {"steps", 10.0}});
    const at::Tensor moved = maps(Craft(*attack, *model, batch, 0.3).images) - maps(batch.images);
    return moved.flatten(1).norm(2, {1}).mean().item<double>();
  };
  EXPECT_GT(change(1000), 1.2 * change(0));
}

TEST(AdaptiveMap, FollowsAHandComputedDistance) {
  // The class map of label 0 is 3 x - 1 behind its ReLU; from a start that is brighter than x the
  // distance grows with pixels above 1/3, from a darker one it falls, whatever cross-entropy wants.
  const Batch batch = FourPixels();
  for (const bool gap : {true, false}) {
    MapModel model({{2, -1}, {0, 1}}, {1, 0});
    model.set_gap(gap);
    const auto attack =
        MakeAttack("adaptive_map",
                   {{"w", 1000.0}, {"steps", 1.0}, {"step_size", 0.01}, {"distance", "cam_l1"}});
    for (const float shift : {0.02F, -0.02F}) {
      Victim victim(model);
      const at::Tensor moved = attack
                                   ->Run(victim, batch, {Norm::kLinf, kEpsilon},
                                         {.stream = "0:test", .start = batch.images + shift}, {})
                                   .images -
                               batch.images - shift;
      const float away = shift > 0 ? 0.01F : -0.01F;
      const at::Tensor expected = torch::tensor({-0.01F, away, away, away}).view({1, 1, 2, 2});
      EXPECT_TRUE(moved.allclose(expected, 1e-5, 1e-6)) << gap << " " << shift;
    }
  }
}

TEST(AdaptiveMap, TakesOnePassMoreThanPgdForTheCleanMaps) {
  const auto counts = [](MapModel& model, const std::string& distance) {
    RefusingJudge judge;
    const auto attack = MakeAttack("adaptive_map", {{"distance", distance}});
    return Craft(*attack, model, FourPixels(), 0.3, &judge).counts;
  };
  MapModel model({{2, -1}, {0, 1}}, {1, 0});
  for (const char* distance : {"cam_l1", "spatial_attention", "feature_l2"}) {
    EXPECT_EQ(counts(model, distance).forwards.item<int64_t>(), 42) << distance;
    EXPECT_EQ(counts(model, distance).backwards.item<int64_t>(), 40) << distance;
  }
  EXPECT_EQ(counts(model, "logit_l2").forwards.item<int64_t>(), 41);
  EXPECT_EQ(counts(model, "logit_l2").backwards.item<int64_t>(), 40);
  model.set_gap(false);
  EXPECT_EQ(counts(model, "cam_l1").forwards.item<int64_t>(), 42);
  EXPECT_EQ(counts(model, "cam_l1").backwards.item<int64_t>(), 81);
}

TEST(AdaptiveMap, RefusesLayersThatDoNotFit) {
  const std::unique_ptr<Model> model = MiniGap({1, 8, 8, 5});
  const auto check = [&](const ParamValues& params) {
    return MakeAttack("adaptive_map", params)->CheckModel(*model).code();
  };
  EXPECT_EQ(check({{"taps", Names{"no_such"}}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(check({{"taps", Names{"logits_in"}}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(check({{"taps", Names{"logits_in"}}, {"distance", "feature_l2"}}),
            absl::StatusCode::kOk);
  EXPECT_EQ(check({{"taps", Names{"a2", "last_conv"}}}), absl::StatusCode::kOk);
}

TEST(AdaptivePc, FollowsHandComputedPrototypes) {
  // f = (m, 1 - m) with m = 1/2, c_0 = (1, 0), c_1 = (0, 1): PC = -2 sqrt(2) m grows as pixels
  // fall, and so does ||f - c_0|| - ||f - c_1|| = sqrt(2) (1 - 2 m). Cross-entropy grows as they
  // rise.
  MapModel model = Rising();
  model.set_objective_tensors(PaperPrototypes());
  const auto direction = [&](const ParamValues& params) {
    const at::Tensor change =
        Craft(*MakeAttack("adaptive_pc", params), model, FourPixels()).images - FourPixels().images;
    EXPECT_TRUE(change.abs().allclose(at::full_like(change, kEpsilon)));
    return change.sign().mean().item<double>();
  };
  EXPECT_EQ(direction({{"base", "fgsm"}, {"w", 0.0}}), 1);
  EXPECT_EQ(direction({{"base", "fgsm"}, {"w", 0.0001}}), 1);
  EXPECT_EQ(direction({{"base", "fgsm"}, {"w", 100.0}}), -1);
  EXPECT_EQ(direction({{"base", "fgsm"}, {"w", 0.0001}, {"variant", "pc_only"}}), -1);
  EXPECT_EQ(direction({{"base", "fgsm"}, {"w", 0.0001}, {"variant", "nearest_prototype"}}), -1);
  EXPECT_EQ(direction({{"w", 100.0}, {"random_start", false}}), -1);
}

TEST(AdaptivePc, ComputesBothFormsOfTheLoss) {
  const at::Tensor features = torch::tensor({{0.5F, 0.5F}});
  const at::Tensor labels = torch::zeros({1}, at::kLong);
  const at::Tensor centres = torch::tensor({{1.F, 0.F}, {0.F, 1.F}, {0.5F, 2.F}});
  const double root = std::sqrt(0.5);
  // To c_1 and c_2: sqrt(.5), 1.5; from c_0 to them: sqrt(2), sqrt(4.25).
  const double pushed = root + 1.5 + std::sqrt(2) + std::sqrt(4.25);
  EXPECT_NEAR(PrototypeConformity({"", centres, {}}, features, labels, 1).item<double>(),
              root - pushed / 2, 1e-6);
  EXPECT_NEAR(PrototypeConformity({"", centres, centres}, features, labels, 0.1).item<double>(),
              0.5 - 0.1 * (0.5 + 2.25) / 2, 1e-6);
  EXPECT_NEAR(PrototypeLead({"", centres, {}}, features, labels).item<double>(), 0, 1e-6);
  const at::Tensor maps = at::stack({at::full({2, 2}, 1.F), at::full({2, 2}, 3.F)}).unsqueeze(0);
  const Prototypes behind{"", centres, {}, torch::tensor({{1.F, 1.F}}), torch::tensor({-0.5F})};
  EXPECT_NEAR(PrototypeFeatures(behind, maps).item<double>(), 3.5, 1e-6);
}

TEST(AdaptivePc, NeedsPrototypesOfTheCheckpoint) {
  MapModel model = Rising();
  const auto attack = MakeAttack("adaptive_pc");
  EXPECT_EQ(attack->CheckModel(model),
            absl::FailedPreconditionError(
                "the model carries no prototypes (tensors objective.pcl.* of its safetensors "
                "file): use a checkpoint that was trained with them"));
  EXPECT_THROW(Craft(*attack, model, FourPixels()), std::invalid_argument);
  EXPECT_TRUE(MakeAttack("adaptive_pc", {{"w", 0.0}})->CheckModel(model).ok());
  model.set_objective_tensors({{"objective.pcl.maps.prototypes", at::zeros({2, 3})}});
  EXPECT_EQ(attack->CheckModel(model).code(), absl::StatusCode::kInvalidArgument);
  model.set_objective_tensors(PaperPrototypes());
  EXPECT_TRUE(attack->CheckModel(model).ok());
  EXPECT_EQ(MakeAttack("adaptive_pc", {{"taps", Names{"no_such"}}})->CheckModel(model).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(AdaptivePc, ReadsThePrototypesOfTheModelFile) {
  const std::string bytes = SerializeModel(*MiniGap({1, 8, 8, 5}), {{"adamant.objective", "pcl"}});
  Safetensors file = *ParseSafetensors(FileView::Own(bytes));
  file.tensors["objective.pcl.a4.prototypes"] = at::eye(5, 16);
  const auto model =
      OpenModel({.file = FileView::Own(WriteSafetensors(file.tensors, file.metadata))});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto prototypes = PrototypesOf(**model);
  ASSERT_TRUE(prototypes.ok()) << prototypes.status();
  ASSERT_EQ(prototypes->size(), 1U);
  EXPECT_EQ((*prototypes)[0].tap, "a4");
  EXPECT_TRUE((*prototypes)[0].pull.equal(at::eye(5, 16)));
  const Batch batch = ToyBatch(**model, 4);
  EXPECT_FALSE(Craft(*MakeAttack("adaptive_pc", {{"w", 1000.0}}), **model, batch)
                   .images.equal(Craft(*MakeAttack("pgd"), **model, batch).images));
}

TEST(AdaptivePc, TakesThePassesOfItsBase) {
  MapModel model = Rising();
  model.set_objective_tensors(PaperPrototypes());
  RefusingJudge judge;
  const SampleCounts counts =
      Craft(*MakeAttack("adaptive_pc", {{"restarts", 2.0}}), model, FourPixels(), 0.3, &judge)
          .counts;
  EXPECT_EQ(counts.forwards.item<int64_t>(), 82);
  EXPECT_EQ(counts.backwards.item<int64_t>(), 80);
}

}  // namespace
}  // namespace adamant
