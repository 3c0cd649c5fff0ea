// SPDX-License-Identifier: Apache-2.0
// Composite attacks, searches for distances, seeds, limits, crafted sets, attacks without a ball.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/attacks/stages.h"
#include "core/base/torch.h"
#include "core/models/safetensors.h"
#include "core/run/attack_report.h"
#include "core/run/attack_tables.h"
#include "core/run/evaluate.h"
#include "core/run/judge.h"
#include "tests/support/torch/memory_run_context.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using testing::ToyBatch;

constexpr ModelShape kShape{1, 8, 8, 5};

v1::AttackEntry Entry(const v1::PluginSpec& attack, double epsilon) {
  v1::AttackEntry entry;
  *entry.mutable_attack() = attack;
  entry.mutable_threat()->set_norm(v1::LINF);
  entry.mutable_threat()->set_epsilon(epsilon);
  return entry;
}

google::protobuf::RepeatedPtrField<v1::AttackEntry> List(std::vector<v1::AttackEntry> entries) {
  return {entries.begin(), entries.end()};
}

v1::PluginSpec Composite(const std::vector<std::string>& stages) {
  v1::PluginSpec spec;
  spec.set_name("autoattack");
  auto& params = *spec.mutable_params()->mutable_fields();
  params["version"].set_string_value("custom");
  auto& list = *params["attacks"].mutable_list_value();
  for (const std::string& stage : stages) list.add_values()->set_string_value(stage);
  return spec;
}

TEST(Stages, NameTheirStreamsAfterTheEntry) {
  EXPECT_EQ(StageStream("0:autoattack", 1, "apgd_t"), "0.1:apgd_t");
  EXPECT_EQ(StageStream("12:autoattack", 0, "pgd"), "12.0:pgd");
  EXPECT_EQ(StageStream("attack:autoattack:3", 1, "apgd_t"), "attack:autoattack:3.1:apgd_t");
}

TEST(Stages, RefuseWhatDoesNotExist) {
  const auto unknown =
      MakeInstances(List({Entry(Composite({"pgd", "apgd_x"}), 0.1)}), kShape).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("cannot run stage \"apgd_x\""));
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("apgd_ce"));
  const auto nested = MakeInstances(List({Entry(Composite({"autoattack"}), 0.1)}), kShape).status();
  EXPECT_THAT(std::string(nested.message()), HasSubstr("a stage cannot be autoattack"));
  v1::AttackEntry l0 = Entry(Composite({"pgd", "fgsm"}), 3);
  l0.mutable_threat()->set_norm(v1::L0);
  EXPECT_THAT(std::string(MakeInstances(List({l0}), kShape).status().message()),
              HasSubstr("does not support l0"));
}

TEST(Stages, BecomeInstancesOfTheEvaluation) {
  const auto model = testing::ToyMlp(kShape);
  const Batch batch = ToyBatch(*model, 60);
  const auto instances =
      *MakeInstances(List({Entry(Composite({"fgsm", "pgd:steps=6"}), 0.012)}), kShape);
  ASSERT_EQ(instances.size(), 2);
  EXPECT_EQ(instances[1].name, "0.1:pgd");
  EXPECT_EQ(instances[1].stream, "0.1:pgd");
  EXPECT_EQ(instances[1].position, 0);
  EXPECT_EQ(instances[1].spec.params().fields().at("steps").number_value(), 6);
  for (const bool cascade : {true, false}) {
    EvaluationOptions options;
    options.cascade = cascade;
    const auto result = *RunEvaluation(*model, SamplesOf(batch), instances, options, {});
    EXPECT_GT(result.instances[0].broken, 0);
    EXPECT_GT(result.instances[1].broken, 0);
    EXPECT_EQ(result.instances[1].attacked, 60 - result.instances[0].broken);
    EXPECT_EQ(result.instances[1].broken_first, result.instances[1].broken);
    v1::AttackSpec spec;
    spec.set_cascade(cascade);
    v1::AttackReport report;
    FillReport(result, instances, spec, 5, report);
    EXPECT_EQ(report.attacks(0).name(), "0.0:fgsm");
    EXPECT_EQ(report.attacks(0).after_accuracy().correct(), result.instances[1].attacked);
    EXPECT_EQ(report.attacks(1).after_accuracy().correct(), report.robust_accuracy().correct());
    EXPECT_FALSE(report.attacks(0).has_alone_accuracy());
    EXPECT_EQ(report.attacks(1).has_alone_accuracy(), !cascade);
  }
}

TEST(Stages, RunByThemselvesDoTheSame) {
  const auto model = testing::ToyMlp(kShape);
  const Batch batch = ToyBatch(*model, 60);
  const v1::AttackEntry entry = Entry(Composite({"fgsm", "pgd:steps=6"}), 0.012);
  const auto staged = *MakeInstances(List({entry}), kShape);
  AttackInstance whole = staged[0];
  whole.attack = *MakePlugin<Attack>(entry.attack());
  whole.name = whole.stream = "0:autoattack";
  EvaluationOptions options;
  options.keep_images = true;
  options.compute_batch = 16;
  const auto a = *RunEvaluation(*model, SamplesOf(batch), staged, options, {});
  const auto b = *RunEvaluation(*model, SamplesOf(batch), {whole}, options, {});
  for (size_t i = 0; i < a.outcomes.size(); ++i) {
    EXPECT_EQ(a.outcomes[i].state(), b.outcomes[i].state());
    EXPECT_EQ(a.outcomes[i].forwards(), b.outcomes[i].forwards());
    EXPECT_TRUE(a.images[i].equal(b.images[i])) << i;
  }
}

TEST(Stages, RunInCraftModeOnWhatIsLeft) {
  const auto model = testing::ToyMlp(kShape);
  const Batch batch = ToyBatch(*model, 30);
  const auto attack = *MakePlugin<Attack>(Composite({"fgsm", "pgd:steps=6"}));
  Victim victim(*model);
  AttackSettings settings;
  settings.stream = "0:autoattack";
  const AttackResult done = attack->Run(victim, batch, {Norm::kLinf, 0.012}, settings, {});
  EXPECT_LE((done.images - batch.images).abs().max().item<double>(), 0.012 + 1e-6);
  const auto wrong = (model->Logits(done.images).argmax(1) != batch.labels).sum().item<int64_t>();
  EXPECT_GT(wrong, 0);
  EXPECT_LT(wrong, 30);
}

// z = (0, x_0 + x_1 - 1): the LINF distance of (a, b) to the border is (1 - a - b) / 2.
testing::ToyPointer TwoPixels() {
  return testing::ToyLinear({1, 1, 2, 2}, at::tensor({0.0, 0.0, 1.0, 1.0}).view({2, 2}),
                            at::tensor({0.0, -1.0}));
}

Batch TwoPixelBatch() {
  return {at::tensor({0.45F, 0.45F, 0.3F, 0.3F, 0.9F, 0.9F}).view({3, 1, 1, 2}),
          at::tensor({0, 0, 0}, at::kLong), at::tensor({10, 11, 12}, at::kLong)};
}

// A minimum-norm attack: first far away, then one thousandth behind the border.
class Bisector final : public Attack {
 public:
  AttackResult Run(Victim&, const Batch& batch, const ThreatModel&, const AttackSettings& settings,
                   const RunControl&) const override {
    const at::Tensor gap = (1 - batch.images.flatten(1).sum(1)) / 2;
    const auto at = [&](double factor) {
      return (batch.images + (gap * factor).view({-1, 1, 1, 1})).clamp(0, 1);
    };
    settings.judge->Submit({.rows = at::arange(batch.size(), at::kLong), .images = at(1.2)});
    const at::Tensor zeros = at::zeros({batch.size()}, at::kLong);
    return {at(1.001), {zeros, zeros, zeros, zeros, zeros, zeros}, (gap * 1.001).to(at::kDouble)};
  }
};

TEST(MinNorm, KeepsTheSmallestVerifiedDistance) {
  const auto model = TwoPixels();
  AttackInstance instance;
  instance.name = "0:bisector";
  instance.threat.epsilon = 1;
  instance.attack = std::make_shared<Bisector>();
  EvaluationOptions options;
  options.nearest = true;
  auto result = *RunEvaluation(*model, SamplesOf(TwoPixelBatch()), {instance}, options, {});
  EXPECT_NEAR(result.outcomes[0].min_norm(), 0.05 * 1.001, 1e-6);
  EXPECT_NEAR(result.outcomes[0].dist_linf(), 0.05 * 1.001, 1e-6);
  EXPECT_NEAR(result.outcomes[1].min_norm(), 0.2 * 1.001, 1e-6);
  EXPECT_FALSE(result.outcomes[2].has_min_norm());  // wrong already
  v1::AttackSpec spec;
  spec.set_mode(v1::MIN_NORM);
  spec.add_attacks()->add_epsilons(0.1);
  spec.mutable_attacks(0)->add_epsilons(0.3);
  v1::AttackReport report;
  FillReport(result, {instance}, spec, 2, report);
  FillTables(result, {instance}, spec, 2, report);
  EXPECT_NEAR(report.attacks(0).median_min_norm(), 0.125 * 1.001, 1e-6);
  ASSERT_EQ(report.tables(0).rows_size(), 2);
  EXPECT_EQ(report.tables(0).rows(0).cells(2).number(), 0.5);
  EXPECT_EQ(report.tables(0).rows(1).cells(2).number(), 1);
  EXPECT_NEAR(report.distances(0).median(), 0.125 * 1.001, 1e-6);

  result.instances[0].min_norm[1] = std::numeric_limits<double>::infinity();
  v1::AttackReport half;
  FillReport(result, {instance}, spec, 2, half);
  FillTables(result, {instance}, spec, 2, half);
  EXPECT_FALSE(half.attacks(0).has_median_min_norm());  // the server takes no infinity
}

TEST(MinNorm, TakesNoEpsilon) {
  const auto refused = MakeInstances(List({Entry(Plugin("pgd"), 0.1)}), kShape, true).status();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("mode MIN_NORM"));
  v1::AttackEntry entry = Entry(Plugin("pgd"), 0);
  entry.add_epsilons(0.1);
  entry.mutable_threat()->set_norm(v1::L2);
  const auto instances = *MakeInstances(List({entry}), kShape, true);
  ASSERT_EQ(instances.size(), 1);
  EXPECT_EQ(instances[0].threat.epsilon, 8);  // sqrt(64)
}

// Claims the inverted image whatever the ball.
class Inverter final : public Attack {
 public:
  AttackResult Run(Victim&, const Batch& batch, const ThreatModel&, const AttackSettings& settings,
                   const RunControl&) const override {
    settings.judge->Submit(
        {.rows = at::arange(batch.size(), at::kLong), .images = 1 - batch.images});
    const at::Tensor zeros = at::zeros({batch.size()}, at::kLong);
    return {batch.images, {zeros, zeros, zeros, zeros, zeros, zeros}};
  }
};

TEST(NoBall, CountsInItsOwnBlockUnlessTheImageLiesInABall) {
  const auto model = TwoPixels();
  AttackInstance free;
  free.position = 0;
  free.name = "0:inverter";
  free.no_ball = true;
  free.threat.epsilon = 1;
  free.attack = std::make_shared<Inverter>();
  std::vector<AttackInstance> instances =
      *MakeInstances(List({Entry(Plugin("fgsm"), 0), Entry(Plugin("fgsm"), 0.11)}), {1, 1, 2, 2});
  instances[0] = free;
  const auto result = *RunEvaluation(*model, SamplesOf(TwoPixelBatch()), instances, {}, {});
  EXPECT_EQ(result.instances[0].broken, 2);
  // (.45, .45) inverted is .1 away and inside the other attack's ball, (.3, .3) is not.
  EXPECT_EQ(result.outcomes[0].broken_by(), "0:inverter");
  EXPECT_EQ(result.outcomes[1].state(), v1::ROBUST);
  EXPECT_EQ(result.instances[1].attacked, 2);
  const auto alone = *RunEvaluation(*model, SamplesOf(TwoPixelBatch()), {free}, {}, {});
  EXPECT_EQ(alone.outcomes[1].state(), v1::BROKEN);
}

TEST(Limits, StopTheRunBetweenBatches) {
  const auto model = testing::ToyMlp(kShape);
  const Batch batch = ToyBatch(*model, 40);
  const auto instances = *MakeInstances(List({Entry(Plugin("pgd", {{"steps", 5}}), 0.1)}), kShape);
  EvaluationOptions options;
  options.batch_size = 4;
  options.stop.set_robust_accuracy(0.9);
  const auto result = *RunEvaluation(*model, SamplesOf(batch), instances, options, {});
  EXPECT_LT(result.instances[0].attacked, 40);
  EXPECT_GT(result.instances[0].attacked, 0);
  ASSERT_EQ(result.notes.size(), 1);
  EXPECT_THAT(result.notes[0], HasSubstr("stop.robust_accuracy = 0.9"));
}

TEST(Limits, QueriesAreCountedForEachSample) {
  const auto model = testing::ToyMlp(kShape);
  const Batch batch = ToyBatch(*model, 40);
  const auto instances = *MakeInstances(
      List({Entry(Plugin("pgd", {{"steps", 5}}), 0.005), Entry(Plugin("fgsm"), 0.005)}), kShape);
  EvaluationOptions options;
  options.stop.set_queries(6);
  const auto result = *RunEvaluation(*model, SamplesOf(batch), instances, options, {});
  EXPECT_GT(result.instances[0].attacked, 0);
  EXPECT_EQ(result.instances[1].attacked, 0);  // pgd took 6 passes of every sample left
}

TEST(RandomModels, AreJudgedBySeveralDraws) {
  int64_t call = 0;
  // Class 1 wins every third call whatever the image.
  const testing::ToyModel model({1, 1, 2, 2}, [&](const at::Tensor& images, bool) {
    const at::Tensor logits = images.flatten(1) * 0;
    logits.select(1, ++call % 3 == 0 ? 1 : 0).add_(1);
    return logits;
  });
  FixedCaller caller(model, 4, [] {});
  const at::Tensor image = at::full({1, 1, 1, 2}, 0.5);
  const auto accepted = [&](int64_t label, int draws) {
    call = 2;
    return VerifyImages(caller, image, image, {label}, {}, {.draws = draws})[0].accepted;
  };
  EXPECT_TRUE(accepted(0, 1));
  EXPECT_FALSE(accepted(0, 20));
  EXPECT_TRUE(accepted(1, 20));
}

v1::AttackSpec ShapesSpec(const v1::PluginSpec& attack) {
  v1::AttackSpec spec;
  spec.mutable_data()->mutable_builtin()->set_name("shapes");
  spec.mutable_data()->set_end(24);
  *spec.add_attacks() = Entry(attack, 0.2);
  return spec;
}

MemoryRunContext ShapesContext() {
  MemoryRunContext context;
  context.UseBuiltin("data", Plugin("shapes"));
  const auto input = context.data("data");
  const auto dataset = MakePlugin<Dataset>(input->reader, input->files);
  const DatasetInfo& info = (*dataset)->info();
  context.UseFreshModel(Plugin("mini_gap"),
                        {info.channels, info.height, info.width, info.num_classes});
  return context;
}

TEST(CraftedSets, AreReplayedAsAnAttack) {
  MemoryRunContext first = ShapesContext();
  v1::AttackSpec craft = ShapesSpec(Plugin("pgd", {{"steps", 5}}));
  craft.add_outputs(v1::ADVERSARIAL_EXAMPLES);
  v1::AttackReport crafted;
  ASSERT_TRUE(Evaluate(craft, first, crafted).ok());

  MemoryRunContext second = ShapesContext();
  second.inputs["adversarial_set"].files = {
      {"set", FileView::Own(first.FindArtifact("adversarial_examples")->bytes)}};
  v1::AttackSpec replay = ShapesSpec(Plugin("transfer"));
  replay.mutable_adversarial_set()->set_sha256("given");
  v1::AttackReport report;
  const absl::Status status = Evaluate(replay, second, report);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(report.robust_accuracy().correct(), crafted.robust_accuracy().correct());
  EXPECT_EQ(report.attacks(0).forwards(), 0);
  EXPECT_EQ(report.protocol(), "transfer protocol, not white-box robustness");
  EXPECT_EQ(crafted.protocol(), "white-box");

  replay.mutable_data()->set_end(25);
  const absl::Status missing = Evaluate(replay, second, report);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("does not hold sample 24"));
  MemoryRunContext third = ShapesContext();
  EXPECT_THAT(std::string(Evaluate(ShapesSpec(Plugin("transfer")), third, report).message()),
              HasSubstr("adversarial_set"));
}

TEST(Seeds, GiveTheWorstCase) {
  MemoryRunContext context = ShapesContext();
  v1::AttackSpec spec = ShapesSpec(Plugin("pgd", {{"steps", 2}}));
  for (const uint64_t seed : {0, 1, 2}) spec.add_seeds(seed);
  v1::AttackReport report;
  ASSERT_TRUE(Evaluate(spec, context, report).ok());
  ASSERT_EQ(report.seeds_size(), 3);
  for (const v1::SeedBlock& seed : report.seeds()) {
    EXPECT_LE(report.robust_accuracy().correct(), seed.robust_accuracy().correct());
    v1::AttackSpec one = spec;
    one.clear_seeds();
    one.add_seeds(seed.seed());
    MemoryRunContext own = ShapesContext();
    v1::AttackReport alone;
    ASSERT_TRUE(Evaluate(one, own, alone).ok());
    EXPECT_EQ(alone.robust_accuracy().correct(), seed.robust_accuracy().correct());
    EXPECT_EQ(alone.seeds_size(), 0);
  }
}

TEST(Curves, FallToTheAccuracyAfterTheAttack) {
  MemoryRunContext context = ShapesContext();
  v1::AttackSpec spec = ShapesSpec(Plugin("pgd", {{"steps", 8}}));
  spec.add_outputs(v1::CURVES);
  v1::AttackReport report;
  ASSERT_TRUE(Evaluate(spec, context, report).ok());
  const v1::AttackBlock& block = report.attacks(0);
  ASSERT_GT(block.accuracy_by_step_size(), 0);
  EXPECT_DOUBLE_EQ(*block.accuracy_by_step().rbegin(), block.after_accuracy().ratio());
  for (int i = 1; i < block.accuracy_by_step_size(); ++i) {
    EXPECT_LE(block.accuracy_by_step(i), block.accuracy_by_step(i - 1));
  }
}

TEST(BadInput, NamesWhatIsWrong) {
  const auto message = [](v1::AttackSpec spec) {
    MemoryRunContext context = ShapesContext();
    v1::AttackReport report;
    const absl::Status status = Evaluate(spec, context, report);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  v1::AttackSpec spec = ShapesSpec(Plugin("pgd"));
  spec.mutable_attacks(0)->mutable_threat()->set_epsilon(1.5);
  EXPECT_THAT(message(spec), HasSubstr("outside [0, 1] for linf"));
  spec = ShapesSpec(Plugin("pgd"));
  spec.mutable_attacks(0)->mutable_threat()->clear_norm();
  EXPECT_THAT(message(spec), HasSubstr("attacks[0].threat.norm: missing"));
  spec = ShapesSpec(Plugin("pgd"));
  spec.mutable_attacks(0)->add_epsilons(0.2);
  spec.mutable_attacks(0)->add_epsilons(0.1);
  EXPECT_THAT(message(spec), HasSubstr("must ascend"));
  EXPECT_THAT(message(ShapesSpec(Plugin("pgdx"))), HasSubstr("pgd"));
}

}  // namespace
}  // namespace adamant
