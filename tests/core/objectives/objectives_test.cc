// SPDX-License-Identifier: Apache-2.0
// What every registered objective must do, and the parts that they share.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/torch.h"
#include "core/models/model_file.h"
#include "core/objectives/objective.h"
#include "core/run/inner_attack.h"
#include "tests/support/torch/memory_run_context.h"

namespace adamant {
namespace {

constexpr ModelShape kShape{1, 28, 28, 10};

std::unique_ptr<Model> SmallModel() {
  at::set_num_threads(1);
  ModelInput input;
  input.architecture = Plugin("mini_gap", {{"width", 4}});
  input.shape = kShape;
  auto model = OpenModel(input, 5);
  EXPECT_TRUE(model.ok()) << model.status();
  for (const auto& [name, parameter] : (*model)->Parameters()) parameter.set_requires_grad(true);
  (*model)->Train(true);
  return *std::move(model);
}

Batch SmallBatch() {
  const at::Tensor values = at::arange(8 * 784, at::kFloat).mul_(0.37).sin_().mul_(0.5).add_(0.5);
  return {values.reshape({8, 1, 28, 28}), at::arange(8, at::kLong), at::arange(8, at::kLong) + 100};
}

// An objective with its inner attack and what a step needs.
struct Stage {
  explicit Stage(const v1::PluginSpec& spec, std::unique_ptr<Model> given = SmallModel())
      : model(std::move(given)), batch(SmallBatch()) {
    objective = *MakePlugin<Objective>(spec);
    EXPECT_TRUE(objective->Prepare(*model).ok());
    const auto choice = objective->DefaultAttack(ThreatModel{.epsilon = 0.1});
    if (choice.has_value()) inner = *InnerAttack::Make(*choice, BatchNormMode::kEval, 1);
  }

  at::Tensor Craft(double strength = 1, const CraftOptions& options = {},
                   const RunControl& control = RunControl()) {
    return inner->Craft(*model, batch, strength, 0, options, control);
  }

  StepOutput Step() {
    StepContext context{.model = *model, .batch = batch, .memory = memory};
    context.seed = 1;
    context.total_steps = 10;
    context.craft = [&](const std::string&, const at::Tensor&, const at::Tensor&,
                        const CraftOptions& options) {
      return crafted.defined() ? crafted : Craft(1, options);
    };
    return objective->Step(context);
  }

  std::unique_ptr<Model> model;
  Batch batch;
  std::unique_ptr<Objective> objective;
  std::unique_ptr<InnerAttack> inner;
  std::map<std::string, at::Tensor> memory;
  at::Tensor crafted;  // instead of a new adversarial batch in each step
};

std::vector<std::string> AllObjectives() {
  std::vector<std::string> names;
  for (const auto& [name, entry] : Registry<Objective>::All()) names.push_back(name);
  return names;
}

class EveryObjective : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryObjective, LossIsFiniteAndTheWeightedSumOfItsTerms) {
  Stage stage(Plugin(GetParam()));
  const StepOutput out = stage.Step();
  ASSERT_EQ(out.loss.dim(), 0);
  EXPECT_TRUE(out.loss.requires_grad());
  ASSERT_FALSE(out.terms.empty());
  double sum = 0;
  for (const LossTerm& term : out.terms) {
    EXPECT_FALSE(term.value.requires_grad()) << term.name;
    sum += term.weight * term.value.item<double>();
  }
  const double loss = out.loss.item<double>();
  EXPECT_TRUE(std::isfinite(loss));
  EXPECT_NEAR(loss, sum, 1e-5 * std::abs(loss));
}

TEST_P(EveryObjective, EveryParameterGetsAFiniteGradientFromTheLossOnly) {
  Stage stage(Plugin(GetParam()));
  const StepOutput out = stage.Step();
  for (const auto& [name, parameter] : stage.model->Parameters()) {
    EXPECT_FALSE(parameter.grad().defined()) << name << " has a gradient before backward";
  }
  out.loss.backward();
  for (const auto& [name, parameter] : stage.model->Parameters()) {
    ASSERT_TRUE(parameter.grad().defined()) << name;
    EXPECT_TRUE(at::isfinite(parameter.grad()).all().item<bool>()) << name;
  }
}

TEST_P(EveryObjective, SameInputsGiveTheSameLossAndGradients) {
  Stage first(Plugin(GetParam()));
  Stage second(Plugin(GetParam()));
  const at::Tensor a = first.Step().loss;
  const at::Tensor b = second.Step().loss;
  a.backward();
  b.backward();
  EXPECT_EQ(a.item<float>(), b.item<float>());
  const NamedTensors mine = first.model->Parameters();
  const NamedTensors theirs = second.model->Parameters();
  for (size_t i = 0; i < mine.size(); ++i) {
    EXPECT_TRUE(mine[i].second.grad().equal(theirs[i].second.grad())) << mine[i].first;
  }
}

TEST_P(EveryObjective, LeavesTheModelInTrainingModeWithTrainableParameters) {
  Stage stage(Plugin(GetParam()));
  stage.Step();
  EXPECT_TRUE(stage.model->training());
  for (const auto& [name, parameter] : stage.model->Parameters()) {
    EXPECT_TRUE(parameter.requires_grad()) << name;
  }
}

TEST_P(EveryObjective, AdversarialsStayInTheBallAndTheImageRange) {
  Stage stage(Plugin(GetParam()));
  const at::Tensor adversarial = stage.Step().adversarial;
  if (!adversarial.defined()) return;
  EXPECT_FALSE(adversarial.requires_grad());
  EXPECT_LE((adversarial - stage.batch.images).abs().max().item<float>(), 0.1f + 1e-6f);
  EXPECT_GE(adversarial.min().item<float>(), 0);
  EXPECT_LE(adversarial.max().item<float>(), 1);
}

// logits = tanh([mean(x), x_0, 1]) * W: six parameters for two classes, in double.
class TinyModel : public Model {
 public:
  TinyModel() : weight_(at::linspace(-0.7, 0.9, 6, at::kDouble).reshape({3, 2})) {
    info_.shape = {1, 28, 28, 2};
    weight_.set_requires_grad(true);
  }
  const ModelInfo& info() const override { return info_; }
  at::Tensor Forward(const at::Tensor& images, const TapVisitor&) const override {
    const at::Tensor x = images.to(at::kDouble).flatten(1);
    const at::Tensor first = x.select(1, 0);
    return at::tanh(at::stack({x.mean(1), first, at::ones_like(first)}, 1)).mm(weight_);
  }
  NamedTensors Parameters() const override { return {{"weight", weight_}}; }
  NamedTensors Buffers() const override { return {}; }
  void Train(bool on) override { training_ = on; }
  bool training() const override { return training_; }
  void To(const c10::Device&) override {}

 private:
  ModelInfo info_;
  at::Tensor weight_;
  bool training_ = true;
};

TEST_P(EveryObjective, GradientAgreesWithFiniteDifferencesInDouble) {
  Stage stage(Plugin(GetParam()), std::make_unique<TinyModel>());
  stage.batch.labels = stage.batch.labels.remainder(2);
  // The loss holds the adversarial batch constant.
  if (stage.inner != nullptr) stage.crafted = stage.Craft();
  const at::Tensor weight = stage.model->Parameters()[0].second;
  stage.Step().loss.backward();
  const at::Tensor gradient = weight.grad().flatten();
  const at::NoGradGuard no_grad;
  at::Tensor values = weight.view({-1});
  for (int64_t i = 0; i < 6; ++i) {
    constexpr double kStep = 1e-5;
    const double before = values[i].item<double>();
    values[i] = before + kStep;
    const double up = stage.Step().loss.item<double>();
    values[i] = before - kStep;
    const double down = stage.Step().loss.item<double>();
    values[i] = before;
    EXPECT_NEAR(gradient[i].item<double>(), (up - down) / (2 * kStep), 1e-8) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryObjective, ::testing::ValuesIn(AllObjectives()),
                         [](const auto& info) { return info.param; });

TEST(CrossEntropy, SmoothingMixesOneHotWithUniform) {
  const at::Tensor logits = at::tensor({2.0f, 0.0f}).reshape({1, 2});
  const at::Tensor label = at::zeros({1}, at::kLong);
  const double p = 1 / (1 + std::exp(-2.0));
  EXPECT_NEAR(CrossEntropy(logits, label, 0).item<double>(), -std::log(p), 1e-6);
  // target (.9, .1) for s = .2 and K = 2
  EXPECT_NEAR(CrossEntropy(logits, label, 0.2).item<double>(),
              -0.9 * std::log(p) - 0.1 * std::log(1 - p), 1e-6);
}

TEST(Ramp, GrowsLinearlyOverItsShareOfTheSteps) {
  EXPECT_EQ(Ramp(0, 0, 10), 1);
  EXPECT_NEAR(Ramp(0.3, 0, 10), 1.0 / 3, 1e-12);
  EXPECT_EQ(Ramp(0.3, 2, 10), 1);
  EXPECT_EQ(Ramp(0.3, 9, 10), 1);
  EXPECT_NEAR(Ramp(1, 4, 10), 0.5, 1e-12);
}

TEST(Standard, NoiseChangesTheLossAndIsFixedByTheSeed) {
  const v1::PluginSpec spec = Plugin("standard", {{"noise_sigma", 0.5}});
  const float loss = Stage(spec).Step().loss.item<float>();
  EXPECT_NE(loss, Stage(Plugin("standard")).Step().loss.item<float>());
  EXPECT_EQ(loss, Stage(spec).Step().loss.item<float>());
}

TEST(PgdAt, AttackLeavesBatchNormBuffersAlone) {
  Stage stage(Plugin("pgd_at"));
  NamedTensors before;
  for (const auto& [name, buffer] : stage.model->Buffers()) {
    before.emplace_back(name, buffer.clone());
  }
  ASSERT_FALSE(before.empty());
  for (const auto mode : {BatchNormMode::kEval, BatchNormMode::kTrainFrozenStats}) {
    stage.Craft(1, {.bn_mode = mode});
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_TRUE(stage.model->Buffers()[i].second.equal(before[i].second)) << before[i].first;
    }
  }
}

TEST(PgdAt, AStopInsideTheAttackRestoresFlagsAndMode) {
  Stage stage(Plugin("pgd_at"));
  int checks = 0;
  const RunControl control([&] { return ++checks > 2; });
  EXPECT_THROW(stage.Craft(1, {}, control), Stopped);
  EXPECT_TRUE(stage.model->training());
  for (const auto& [name, parameter] : stage.model->Parameters()) {
    EXPECT_TRUE(parameter.requires_grad()) << name;
    EXPECT_FALSE(parameter.grad().defined()) << name;
  }
}

TEST(InnerAttack, StrengthScalesTheBall) {
  Stage stage(Plugin("pgd_at"));
  const at::Tensor change = (stage.Craft(0.5) - stage.batch.images).abs();
  EXPECT_LE(change.max().item<float>(), 0.05f + 1e-6f);
  EXPECT_GT(change.max().item<float>(), 0.04f);
}

TEST(InnerAttack, RefusesAnUnknownAttack) {
  InnerAttackChoice choice;
  choice.attack = Plugin("pdg");
  EXPECT_EQ(InnerAttack::Make(choice, BatchNormMode::kEval, 0).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace adamant
