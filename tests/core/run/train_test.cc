// SPDX-License-Identifier: Apache-2.0
// Whole training runs on `shapes` with `mini_gap`.
#include "core/run/train.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/torch.h"
#include "core/models/model_file.h"
#include "core/objectives/objective.h"
#include "core/run/train_checkpoint.h"
#include "core/run/train_plan.h"
#include "tests/support/torch/memory_run_context.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

constexpr ModelShape kShape{1, 28, 28, 10};

// 40 steps in 4 epochs of 10: small enough for a resume at every place that matters.
v1::TrainSpec SmallSpec(const std::string& objective) {
  v1::TrainSpec spec;
  spec.mutable_objective()->set_name(objective);
  spec.set_steps(40);
  spec.set_batch_size(16);
  spec.set_seed(3);
  spec.set_val_ratio(0.2);
  spec.mutable_optimizer()->set_lr(0.05);
  spec.mutable_schedule()->set_kind(v1::Schedule::COSINE);
  *spec.add_augmentations() = Plugin("random_crop", {{"pad", 1}});
  spec.mutable_evaluation()->set_samples(16);
  if (objective != "standard") {
    spec.mutable_threat()->set_norm(v1::LINF);
    spec.mutable_threat()->set_epsilon(0.06);
    *spec.mutable_attack() = Plugin("pgd", {{"steps", 2}, {"step_size", 0.04}});
    spec.set_eps_warmup_frac(0.5);
  }
  return spec;
}

MemoryRunContext SmallContext() {
  at::set_num_threads(1);  // tensors this small only lose by sharing
  MemoryRunContext context;
  context.UseFreshModel(Plugin("mini_gap", {{"width", 4}}), kShape);
  context.UseBuiltin("train", Plugin("shapes", {{"train", 200}, {"test", 20}}));
  return context;
}

v1::TrainReport WithoutTimes(v1::TrainReport report) {
  report.clear_train_seconds();
  report.clear_evaluation_seconds();
  report.clear_attack_share_ratio();
  report.clear_resumed();
  report.clear_weights();
  return report;
}

v1::TrainReport TrainOk(const v1::TrainSpec& spec, MemoryRunContext& context) {
  v1::TrainReport report;
  const absl::Status status = RunTrain(spec, context, report);
  EXPECT_TRUE(status.ok()) << status;
  return report;
}

TEST(RunTraining, StandardLearnsAndReportsWhatItDid) {
  MemoryRunContext context = SmallContext();
  const v1::TrainReport report = TrainOk(SmallSpec("standard"), context);
  EXPECT_EQ(report.steps(), 40);
  EXPECT_EQ(report.epochs(), 4);
  EXPECT_EQ(report.forwards(), 40 * 16);
  EXPECT_EQ(report.backwards(), 40 * 16);
  ASSERT_EQ(report.evaluations_size(), 4);
  EXPECT_EQ(report.evaluations(3).step(), 40);
  EXPECT_EQ(report.evaluations(3).clean_accuracy().total(), 16);
  EXPECT_EQ(report.evaluations(3).robust_accuracy_size(), 0);
  EXPECT_LT(report.evaluations(3).train_loss(), report.evaluations(0).train_loss());
  EXPECT_EQ(report.kept_by(), "clean_accuracy");
  EXPECT_EQ(context.MetricValues("clean_accuracy").size(), 4u);
  EXPECT_EQ(context.MetricValues("loss").size(), 40u);
  const auto* weights = context.FindArtifact("weights");
  ASSERT_NE(weights, nullptr);
  EXPECT_EQ(weights->artifact.blob().sha256(), report.weights().sha256());
  ModelInput input;
  input.file = FileView::Own(weights->bytes);
  const auto model = OpenModel(input);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(WeightsDigest(**model), report.weights_sha256());
}

TEST(RunTraining, AdversarialTrainingCountsTheRowsOfItsAttack) {
  MemoryRunContext context = SmallContext();
  v1::TrainSpec spec = SmallSpec("pgd_at");
  spec.set_steps(3);
  const v1::TrainReport report = TrainOk(spec, context);
  EXPECT_EQ(report.forwards(), 3 * 16 * (2 + 1));
  EXPECT_EQ(report.backwards(), 3 * 16 * (2 + 1));
  ASSERT_EQ(report.evaluations_size(), 1);
  ASSERT_EQ(report.evaluations(0).robust_accuracy_size(), 1);
  EXPECT_EQ(report.evaluations(0).robust_accuracy(0).accuracy().total(), 16);
  EXPECT_EQ(report.kept_by(), "robust_accuracy");
  EXPECT_EQ(context.MetricValues("robust_accuracy").size(), 1u);
}

TEST(RunTraining, AnAutomaticBatchInPartsGivesTheSameStep) {
  for (const char* objective : {"standard", "pgd_at"}) {
    v1::TrainSpec spec = SmallSpec(objective);
    spec.clear_batch_size();
    spec.set_steps(2);
    spec.mutable_optimizer()->set_lr(1e-4);
    MemoryRunContext whole = SmallContext();
    MemoryRunContext parts = SmallContext();
    // Without batch normalisation, which sees one part at a time.
    for (MemoryRunContext* context : {&whole, &parts})
      context->UseFreshModel(Plugin("lenet"), kShape);
    parts.divisor = 4;
    const v1::TrainReport expected = TrainOk(spec, whole);
    const v1::TrainReport report = TrainOk(spec, parts);
    EXPECT_FALSE(whole.Warned("MICRO_BATCHES"));
    EXPECT_TRUE(parts.Warned("MICRO_BATCHES")) << objective;
    EXPECT_FALSE(report.reproducible());
    EXPECT_EQ(report.forwards(), expected.forwards());
    // Sums of float32 gradients in another order.
    const std::vector<double> losses = whole.MetricValues("loss");
    ASSERT_EQ(parts.MetricValues("loss").size(), losses.size());
    for (size_t i = 0; i < losses.size(); ++i)
      EXPECT_NEAR(parts.MetricValues("loss")[i], losses[i], 1e-3 * losses[i]) << objective;
  }
}

TEST(RunTraining, ABatchOfTheUsersOwnIsNeverDivided) {
  v1::TrainSpec spec = SmallSpec("standard");
  spec.set_steps(2);
  MemoryRunContext context = SmallContext();
  context.divisor = 2;
  TrainOk(spec, context);
  EXPECT_FALSE(context.Warned("MICRO_BATCHES"));
}

TEST(RunTraining, SameSpecGivesSameWeightsAndCheckpointsChangeNothing) {
  MemoryRunContext first = SmallContext();
  MemoryRunContext second = SmallContext();
  const v1::TrainSpec spec = SmallSpec("standard");
  v1::TrainSpec often = spec;
  often.mutable_checkpoint()->set_every_steps(1);
  EXPECT_EQ(TrainOk(spec, first).weights_sha256(), TrainOk(often, second).weights_sha256());
  EXPECT_GT(second.checkpoints.size(), first.checkpoints.size());
}

class Resume : public ::testing::TestWithParam<std::string> {};

TEST_P(Resume, GoesOnBitByBitFromAnyStep) {
  v1::TrainSpec spec = SmallSpec(GetParam());
  spec.mutable_checkpoint()->set_every_steps(1);
  MemoryRunContext whole = SmallContext();
  const v1::TrainReport expected = TrainOk(spec, whole);
  for (const int64_t step : {7, 20, 33}) {
    MemoryRunContext context = SmallContext();
    for (const auto& checkpoint : whole.checkpoints) {
      if (checkpoint.step == step) context.resume_file = FileView::Own(checkpoint.bytes);
    }
    ASSERT_NE(context.resume_file, nullptr) << step;
    const v1::TrainReport report = TrainOk(spec, context);
    EXPECT_TRUE(report.resumed());
    EXPECT_EQ(WithoutTimes(report).SerializeAsString(), WithoutTimes(expected).SerializeAsString())
        << WithoutTimes(report).DebugString() << WithoutTimes(expected).DebugString();
  }
}

TEST_P(Resume, AStopInTheMiddleOfAStepIsTakenUpAgain) {
  const v1::TrainSpec spec = SmallSpec(GetParam());
  MemoryRunContext whole = SmallContext();
  const v1::TrainReport expected = TrainOk(spec, whole);
  MemoryRunContext stopped = SmallContext();
  stopped.stop = [&] { return stopped.ticks >= whole.ticks / 2; };
  v1::TrainReport report;
  EXPECT_THROW(RunTrain(spec, stopped, report).IgnoreError(), Stopped);
  ASSERT_FALSE(stopped.checkpoints.empty());
  MemoryRunContext resumed = SmallContext();
  resumed.resume_file = FileView::Own(stopped.checkpoints.back().bytes);
  EXPECT_EQ(WithoutTimes(TrainOk(spec, resumed)).SerializeAsString(),
            WithoutTimes(expected).SerializeAsString());
}

INSTANTIATE_TEST_SUITE_P(Objectives, Resume, ::testing::Values("standard", "pgd_at"));

TEST(RunTraining, RefusesTheCheckpointOfAnotherSpec) {
  v1::TrainSpec spec = SmallSpec("standard");
  spec.set_steps(4);
  spec.mutable_checkpoint()->set_every_steps(2);
  MemoryRunContext first = SmallContext();
  TrainOk(spec, first);
  ASSERT_FALSE(first.checkpoints.empty());
  MemoryRunContext second = SmallContext();
  second.resume_file = FileView::Own(first.checkpoints.front().bytes);
  spec.set_seed(4);
  v1::TrainReport report;
  EXPECT_EQ(RunTrain(spec, second, report).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(RunTraining, RefusesADamagedCheckpoint) {
  MemoryRunContext context = SmallContext();
  context.resume_file = FileView::Own("not a checkpoint");
  v1::TrainReport report;
  EXPECT_EQ(RunTrain(SmallSpec("standard"), context, report).code(), absl::StatusCode::kDataLoss);
}

// Cross-entropy and a second term that is NaN from step `from` on.
class PoisonedObjective : public Objective {
 public:
  explicit PoisonedObjective(int64_t from) : from_(from) {}
  StepOutput Step(StepContext& context) override {
    const at::Tensor ce =
        CrossEntropy(context.Forward(context.batch.images), context.batch.labels, 0);
    const at::Tensor poison = ce * (context.step < from_ ? 0.0 : std::nan(""));
    return {.loss = ce + poison,
            .terms = {{"ce_clean", ce.detach(), 1}, {"poison", poison.detach(), 1}}};
  }

 private:
  const int64_t from_;
};
const Registration<Objective> kPoisoned{
    {.name = "test_poisoned", .summary = "for tests", .params = {Int("from", 0)}},
    [](const Params& params) -> std::unique_ptr<Objective> {
      return std::make_unique<PoisonedObjective>(params.Int("from"));
    }};

TEST(RunTraining, ANonFiniteTermIsNamedWithItsStep) {
  MemoryRunContext context = SmallContext();
  v1::TrainSpec spec = SmallSpec("standard");
  *spec.mutable_objective() = Plugin("test_poisoned", {{"from", 5}});
  v1::TrainReport report;
  const absl::Status status = RunTrain(spec, context, report);
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("not finite at step 5: loss, grad_norm, poison"));
  const auto* diagnosis = context.FindArtifact("diagnostic");
  ASSERT_NE(diagnosis, nullptr);
  EXPECT_THAT(diagnosis->bytes, HasSubstr("sample ids of the batch"));
}

TEST(RunTraining, RefusesWhatDoesNotFitTogether) {
  struct Case {
    std::string text;
    std::function<void(v1::TrainSpec&, MemoryRunContext&)> change;
  };
  const std::vector<Case> cases = {
      {"batch_size", [](v1::TrainSpec& s, MemoryRunContext&) { s.set_batch_size(1000); }},
      {"batch_size", [](v1::TrainSpec& s, MemoryRunContext&) { s.set_batch_size(1); }},
      {"attacks nothing",
       [](v1::TrainSpec& s, MemoryRunContext&) { *s.mutable_attack() = Plugin("pgd"); }},
      {"eps_warmup_frac", [](v1::TrainSpec& s, MemoryRunContext&) { s.set_eps_warmup_frac(0.5); }},
      {"epsilon",
       [](v1::TrainSpec& s, MemoryRunContext&) {
         s.mutable_objective()->set_name("pgd_at");
         s.mutable_threat()->set_norm(v1::LINF);
         s.mutable_threat()->set_epsilon(8);
       }},
      {"validation data",
       [](v1::TrainSpec& s, MemoryRunContext&) {
         s.set_val_ratio(0);
         auto& entry = *s.mutable_evaluation()->add_attacks();
         *entry.mutable_attack() = Plugin("pgd");
         entry.mutable_threat()->set_norm(v1::LINF);
         entry.mutable_threat()->set_epsilon(0.1);
       }},
      {"28x28", [](v1::TrainSpec&,
                   MemoryRunContext& c) { c.UseFreshModel(Plugin("mini_gap"), {3, 32, 32, 10}); }},
  };
  for (const Case& one : cases) {
    MemoryRunContext context = SmallContext();
    v1::TrainSpec spec = SmallSpec("standard");
    one.change(spec, context);
    v1::TrainReport report;
    const absl::Status status = RunTrain(spec, context, report);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << one.text << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(one.text));
  }
}

TEST(RunTraining, WarnsOfAnAttackThatCannotCrossTheBall) {
  MemoryRunContext context = SmallContext();
  v1::TrainSpec spec = SmallSpec("pgd_at");
  spec.set_steps(1);
  spec.mutable_threat()->set_epsilon(0.5);
  const v1::TrainReport report = TrainOk(spec, context);
  EXPECT_TRUE(context.Warned("SHORT_REACH"));
  EXPECT_TRUE(context.Warned("DEGENERATE_EPSILON"));
  EXPECT_EQ(report.warnings_size(), static_cast<int>(context.warnings.size()));
}

TEST(RunTraining, ProgressNeverGoesBack) {
  MemoryRunContext context = SmallContext();
  TrainOk(SmallSpec("standard"), context);
  double before = 0;
  for (const v1::Progress& progress : context.progress) {
    EXPECT_GE(progress.fraction_ratio(), before);
    EXPECT_EQ(progress.total_steps(), 40);
    before = progress.fraction_ratio();
  }
}

// The fixture: 3000 training images, 10 epochs at epsilon 0.06.
v1::TrainReport RunFixture(const std::string& objective) {
  MemoryRunContext context;
  context.UseFreshModel(Plugin("mini_gap", {{"width", 8}}), kShape);
  context.UseBuiltin("train", Plugin("shapes", {{"train", 3000}, {"test", 400}}));
  context.UseBuiltin("validation", Plugin("shapes", {{"train", 3000}, {"test", 400}}));
  v1::TrainSpec spec;
  spec.mutable_objective()->set_name(objective);
  spec.set_epochs(10);
  spec.set_batch_size(128);
  spec.mutable_validation()->set_split("test");
  spec.mutable_schedule()->set_kind(v1::Schedule::COSINE);
  spec.mutable_schedule()->set_warmup_steps(20);
  spec.mutable_threat()->set_norm(v1::LINF);
  spec.mutable_threat()->set_epsilon(0.06);
  spec.mutable_evaluation()->set_every_epochs(-1);
  if (objective == "pgd_at") {
    *spec.mutable_attack() = Plugin("pgd", {{"steps", 4}, {"step_size", 2.5 * 0.06 / 4}});
    spec.set_eps_warmup_frac(0.3);
  }
  return TrainOk(spec, context);
}

TEST(TrainFixtureSlow, StandardIsAccurateAndNotRobust) {
  const v1::TrainEvaluationResult result = RunFixture("standard").evaluations(0);
  EXPECT_GE(result.clean_accuracy().ratio(), 0.99);
  EXPECT_LE(result.robust_accuracy(0).accuracy().ratio(), 0.05);
}

// Without the warm-up of epsilon both this trainer and the same loop in plain PyTorch stay near the
// loss of a constant predictor for three epochs and end at 66-83 % clean.
TEST(TrainFixtureSlow, AdversarialTrainingIsRobust) {
  const v1::TrainEvaluationResult result = RunFixture("pgd_at").evaluations(0);
  EXPECT_GE(result.clean_accuracy().ratio(), 0.93);
  EXPECT_GE(result.robust_accuracy(0).accuracy().ratio(), 0.55);
}

TEST(RunTraining, CudaGivesTheSameCountsAndALowerLoss) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "needs a CUDA device";
  MemoryRunContext context = SmallContext();
  context.device_name = "cuda:0";
  const v1::TrainReport report = TrainOk(SmallSpec("pgd_at"), context);
  EXPECT_EQ(report.forwards(), 40 * 16 * 3);
  EXPECT_LT(report.evaluations(3).train_loss(), report.evaluations(0).train_loss());
}

}  // namespace
}  // namespace adamant
