// SPDX-License-Identifier: Apache-2.0
#include "core/run/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/statistics.h"
#include "core/base/torch.h"
#include "core/models/safetensors.h"
#include "core/run/attack_report.h"
#include "core/run/judge.h"
#include "tests/support/torch/memory_run_context.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using testing::ToyBatch;

constexpr ModelShape kShape{1, 8, 8, 5};

v1::AttackEntry Entry(const std::string& attack, double epsilon,
                      const std::vector<std::pair<std::string, double>>& params = {}) {
  v1::AttackEntry entry;
  *entry.mutable_attack() = Plugin(attack, params);
  entry.mutable_threat()->set_norm(v1::LINF);
  entry.mutable_threat()->set_epsilon(epsilon);
  return entry;
}

google::protobuf::RepeatedPtrField<v1::AttackEntry> List(std::vector<v1::AttackEntry> entries) {
  return {entries.begin(), entries.end()};
}

EvaluationResult MustEvaluate(Model& model, const Batch& batch,
                              const std::vector<v1::AttackEntry>& entries,
                              const EvaluationOptions& options = {}) {
  const auto instances = MakeInstances(List(entries), model.info().shape);
  EXPECT_TRUE(instances.ok()) << instances.status();
  auto result = RunEvaluation(model, SamplesOf(batch), *instances, options, {});
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

std::string Bytes(const EvaluationResult& result) {
  std::string bytes;
  for (const v1::SampleOutcome& outcome : result.outcomes) bytes += outcome.DebugString();
  return bytes;
}

int64_t CountState(const EvaluationResult& result, v1::SampleState state) {
  return std::count_if(result.outcomes.begin(), result.outcomes.end(),
                       [&](const v1::SampleOutcome& o) { return o.state() == state; });
}

TEST(WilsonInterval, GivesThePublishedBounds) {
  EXPECT_NEAR(MakeAccuracy(932, 1000).low(), 0.9147, 5e-5);
  EXPECT_NEAR(MakeAccuracy(932, 1000).high(), 0.9460, 5e-5);
  EXPECT_NEAR(MakeAccuracy(953, 1000).low(), 0.9381, 5e-5);
  EXPECT_NEAR(MakeAccuracy(953, 1000).high(), 0.9645, 5e-5);
  EXPECT_EQ(MakeAccuracy(0, 10).low(), 0);
  EXPECT_EQ(MakeAccuracy(10, 10).high(), 1);
  EXPECT_EQ(MakeAccuracy(0, 0).ratio(), 0);
  EXPECT_NEAR(NormalQuantile(0.95), 1.959964, 1e-6);
}

TEST(Decision, GivesATieToTheLowestIndex) {
  const float tie[] = {1, 2, 2};
  EXPECT_EQ(Decide(tie, 3, 2).predicted, 1);  // y = 2 is misclassified
  EXPECT_EQ(Decide(tie, 3, 1).predicted, 1);  // y = 1 is correct
  EXPECT_EQ(Decide(tie, 3, 1).margin, 0);
  EXPECT_EQ(Decide(tie, 3, 0).margin, -1);
}

// Two classes, two pixels: z = (0, x_0 + x_1 - 1), so class 0 holds below x_0 + x_1 = 1 and the
// LINF distance of (a, b) to the border is (1 - a - b) / 2.
testing::ToyPointer TwoPixels() {
  return testing::ToyLinear({1, 1, 2, 2}, at::tensor({0.0, 0.0, 1.0, 1.0}).view({2, 2}),
                            at::tensor({0.0, -1.0}));
}

Batch TwoPixelBatch() {
  return {at::tensor({0.45F, 0.45F, 0.3F, 0.3F, 0.9F, 0.9F}).view({3, 1, 1, 2}),
          at::tensor({0, 0, 0}, at::kLong), at::tensor({10, 11, 12}, at::kLong)};
}

TEST(Evaluation, BreaksExactlyTheSamplesWithinReach) {
  const auto model = TwoPixels();
  // Distances .05 and .2; the third sample is wrong already.
  const EvaluationResult result = MustEvaluate(*model, TwoPixelBatch(), {Entry("fgsm", 0.1)});
  EXPECT_EQ(result.outcomes[0].state(), v1::BROKEN);
  EXPECT_EQ(result.outcomes[0].broken_by(), "0:fgsm");
  EXPECT_EQ(result.outcomes[0].sample_id(), 10);
  EXPECT_EQ(result.outcomes[0].adv_pred(), 1);
  EXPECT_NEAR(result.outcomes[0].dist_linf(), 0.1, 1e-6);
  EXPECT_NEAR(result.outcomes[0].dist_l1(), 0.2, 1e-6);
  EXPECT_EQ(result.outcomes[0].dist_l0(), 2);
  EXPECT_NEAR(result.outcomes[0].clean_margin(), 0.1, 1e-6);
  EXPECT_NEAR(result.outcomes[0].final_margin(), -0.1, 1e-6);  // 2 * .55 - 1
  EXPECT_EQ(result.outcomes[1].state(), v1::ROBUST);
  EXPECT_EQ(result.outcomes[1].claims(), 1);
  EXPECT_EQ(result.outcomes[1].rejected_claims(), 1);
  EXPECT_EQ(result.outcomes[2].state(), v1::CLEAN_WRONG);
  EXPECT_EQ(result.outcomes[2].forwards(), 0);
}

TEST(Evaluation, CarriesSuccessesUpAnEpsilonGrid) {
  const auto model = TwoPixels();
  v1::AttackEntry entry = Entry("fgsm", 0);
  for (const double epsilon : {0.0, 0.1, 0.3}) entry.add_epsilons(epsilon);
  const EvaluationResult result = MustEvaluate(*model, TwoPixelBatch(), {entry});
  ASSERT_EQ(result.instances.size(), 3);
  EXPECT_EQ(result.instances[0].broken, 0);
  EXPECT_EQ(result.instances[1].broken, 1);
  EXPECT_EQ(result.instances[2].attacked, 1);  // sample 10 was broken at .1 already
  EXPECT_TRUE(result.instances[2].broken_at[0]);
  EXPECT_TRUE(result.instances[2].broken_at[1]);
}

TEST(Evaluation, ComparesASmallerEpsilonOfALaterEntryWithItsOwnBallOnly) {
  const auto model = TwoPixels();
  const EvaluationResult result =
      MustEvaluate(*model, TwoPixelBatch(), {Entry("fgsm", 0.3), Entry("fgsm", 0.1)});
  EXPECT_EQ(result.instances[0].broken, 2);
  EXPECT_EQ(result.instances[1].attacked, 2);
  EXPECT_EQ(result.instances[1].broken, 1);
  EXPECT_EQ(result.outcomes[0].broken_by(), "0:fgsm");
}

TEST(Evaluation, GivesEveryAttackAllCorrectSamplesWithoutCascade) {
  const auto model = TwoPixels();
  EvaluationOptions options;
  const std::vector<v1::AttackEntry> entries = {Entry("fgsm", 0.1), Entry("pgd", 0.1)};
  EXPECT_EQ(MustEvaluate(*model, TwoPixelBatch(), entries, options).instances[1].attacked, 1);
  options.cascade = false;
  EXPECT_EQ(MustEvaluate(*model, TwoPixelBatch(), entries, options).instances[1].attacked, 2);
}

TEST(Evaluation, IsBitEqualForAnyNumberOfSamplesInFlight) {
  const auto model = testing::ToyMlp(kShape);
  const Batch batch = ToyBatch(*model, 61);
  const std::vector<v1::AttackEntry> entries = {Entry("fgsm", 0.01),
                                                Entry("pgd", 0.015, {{"steps", 6}}),
                                                Entry("apgd_ce", 0.02, {{"steps", 12}})};
  EvaluationOptions options;
  options.compute_batch = 16;
  options.keep_images = true;
  options.batch_size = 1000;
  const EvaluationResult reference = MustEvaluate(*model, batch, entries, options);
  EXPECT_GT(CountState(reference, v1::BROKEN), 5);
  EXPECT_GT(CountState(reference, v1::ROBUST), 5);
  for (const int64_t batch_size : {1, 37}) {
    options.batch_size = batch_size;
    const EvaluationResult result = MustEvaluate(*model, batch, entries, options);
    EXPECT_EQ(Bytes(result), Bytes(reference)) << batch_size;
    for (int64_t i = 0; i < batch.size(); ++i) {
      EXPECT_TRUE(result.images[i].equal(reference.images[i])) << batch_size << " sample " << i;
    }
  }
}

TEST(Evaluation, DoesNotDependOnTheOrderOfSamples) {
  const auto model = testing::ToyMlp(kShape);
  const Batch batch = ToyBatch(*model, 20);
  const at::Tensor reversed = at::arange(19, -1, -1, at::kLong);
  const Batch backwards{batch.images.index_select(0, reversed),
                        batch.labels.index_select(0, reversed),
                        batch.ids.index_select(0, reversed)};
  const std::vector<v1::AttackEntry> entries = {Entry("pgd", 0.05, {{"steps", 5}})};
  const EvaluationResult first = MustEvaluate(*model, batch, entries);
  const EvaluationResult second = MustEvaluate(*model, backwards, entries);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(first.outcomes[i].DebugString(), second.outcomes[19 - i].DebugString());
  }
}

TEST(Evaluation, CountsTheRowsThatTheModelSees) {
  const auto toy = testing::ToyMlp(kShape);
  testing::CountingModel model(*toy);
  EvaluationOptions options;
  options.compute_batch = 8;
  const EvaluationResult result =
      MustEvaluate(model, ToyBatch(*toy, 21), {Entry("pgd", 0.03, {{"steps", 4}})}, options);
  EXPECT_EQ(result.forwards + result.padded_rows, model.rows);
  EXPECT_EQ(model.rows % 8, 0);
  int64_t forwards = 0;
  for (const v1::SampleOutcome& outcome : result.outcomes) {
    forwards += outcome.forwards();
    if (outcome.state() != v1::ROBUST) continue;
    EXPECT_EQ(outcome.forwards(), 5);
    EXPECT_EQ(outcome.backwards(), 4);
  }
  EXPECT_EQ(result.instances[0].forwards, forwards);
}

TEST(Evaluation, MakesNoCallBeyondTheCleanOneWhenEveryLabelIsWrong) {
  const auto toy = testing::ToyMlp(kShape);
  testing::CountingModel model(*toy);
  Batch batch = ToyBatch(*toy, 10);
  batch.labels = (batch.labels + 1).remainder(5);
  const EvaluationResult result = MustEvaluate(model, batch, {Entry("pgd", 0.1)});
  EXPECT_EQ(model.calls, 1);
  EXPECT_EQ(CountState(result, v1::CLEAN_WRONG), 10);
}

TEST(Evaluation, MarksNonFiniteCleanLogitsAsErrorsAndNeverBelievesThem) {
  for (const bool infinite : {false, true}) {
    const auto model = infinite ? testing::ToyInf(kShape) : testing::ToyNan(kShape);
    Batch batch = ToyBatch(*testing::ToyLinear(kShape), 40);
    const EvaluationResult result =
        MustEvaluate(*model, batch, {Entry("pgd", 0.2, {{"steps", 5}})});
    int64_t met = 0;
    for (int64_t i = 0; i < 40; ++i) {
      const bool bad = batch.images[i].flatten()[0].item<float>() > 0.6F;
      EXPECT_EQ(result.outcomes[i].state() == v1::ERROR, bad);
      met += result.outcomes[i].nonfinite_logits();
      if (result.outcomes[i].state() == v1::BROKEN) {
        EXPECT_LE(result.images[i].flatten()[0].item<float>(), 0.6F);
      }
    }
    EXPECT_GT(met, 0);
  }
}

TEST(Evaluation, RefusesLabelsOutsideTheModel) {
  const auto model = testing::ToyMlp(kShape);
  Batch batch = ToyBatch(*model, 3, 100);
  batch.labels[1] = 5;
  const auto result = RunEvaluation(*model, SamplesOf(batch), {}, {}, {});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("sample 101 has label 5"));
}

TEST(Evaluation, RefusesImagesOutsideTheBox) {
  const auto model = testing::ToyMlp(kShape);
  Batch batch = ToyBatch(*model, 3);
  batch.images[2][0][0][0] = std::numeric_limits<float>::quiet_NaN();
  const auto result = RunEvaluation(*model, SamplesOf(batch), {}, {}, {});
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("sample 2"));
}

TEST(Evaluation, RefusesAModelWithOneClass) {
  const auto model = testing::ToyMlp({1, 8, 8, 1});
  const auto result = RunEvaluation(*model, SamplesOf(ToyBatch(*model, 2)), {}, {}, {});
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("1 output class"));
}

TEST(Evaluation, AcceptsAnEmptySelection) {
  const auto model = testing::ToyMlp(kShape);
  const EvaluationResult result = MustEvaluate(*model, ToyBatch(*model, 0), {Entry("pgd", 0.1)});
  EXPECT_TRUE(result.outcomes.empty());
}

TEST(Evaluation, StopsAtTheNextCall) {
  const auto toy = testing::ToyMlp(kShape);
  testing::CountingModel model(*toy);
  const Batch batch = ToyBatch(*toy, 8);
  const RunControl control([&] { return model.calls >= 4; });
  const auto instances = MakeInstances(List({Entry("pgd", 0.01)}), kShape);
  EXPECT_THROW(RunEvaluation(model, SamplesOf(batch), *instances, {}, control).IgnoreError(),
               Stopped);
  EXPECT_EQ(model.calls, 4);
}

TEST(Instances, RefuseANormThatTheAttackDoesNotSupport) {
  v1::AttackEntry entry = Entry("apgd_ce", 2);
  entry.mutable_threat()->set_norm(v1::L0);
  const auto instances = MakeInstances(List({entry}), kShape);
  EXPECT_THAT(std::string(instances.status().message()),
              HasSubstr("attacks[0].threat.norm: attack \"apgd_ce\" does not support l0"));
}

TEST(Instances, RefuseParametersThatContradictEachOther) {
  v1::AttackEntry entry = Entry("pgd", 0.1);
  (*entry.mutable_attack()->mutable_params()->mutable_fields())["step_rule"].set_string_value(
      "fixed");
  const auto instances = MakeInstances(List({entry}), kShape);
  EXPECT_EQ(instances.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(instances.status().message()), HasSubstr("step_size > 0"));
}

// Claims images that are no adversarial examples at all, one kind per step.
class Liar final : public Attack {
 public:
  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl&) const override {
    const at::Tensor rows = at::arange(batch.size(), at::kLong);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    int64_t step = 0;
    for (const at::Tensor& image :
         {batch.images, 1 - batch.images, at::full_like(batch.images, nan),
          batch.images + 2 * threat.epsilon, batch.images - 3}) {
      rejected +=
          batch.size() - settings.judge->Submit({.rows = rows, .images = image, .step = step++})
                             .sum()
                             .item<int64_t>();
    }
    victim.Logits(batch.images);
    const at::Tensor zeros = at::zeros({batch.size()}, at::kLong);
    return {batch.images, {zeros, zeros, zeros, zeros, zeros, zeros}};
  }
  mutable int64_t rejected = 0;
};

TEST(Judge, BelievesNoLie) {
  const auto model = testing::ToyLinear(kShape);
  const Batch batch = ToyBatch(*model, 12);
  const auto liar = std::make_shared<Liar>();
  AttackInstance instance;
  instance.name = "0:liar";
  instance.threat.epsilon = 0.05;
  instance.attack = liar;
  const auto result = RunEvaluation(*model, SamplesOf(batch), {instance}, {}, {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(CountState(*result, v1::ROBUST), 12);
  EXPECT_EQ(liar->rejected, 60);
  EXPECT_EQ(result->instances[0].rejected_claims, 60);
}

TEST(Judge, MeasuresTheBallInDouble) {
  const auto model = TwoPixels();
  FixedCaller caller(*model, 4, [] {});
  const at::Tensor clean = at::tensor({0.45F, 0.45F}).view({1, 1, 1, 2});
  const auto accepted = [&](double change, Norm norm, double epsilon) {
    return VerifyImages(caller, clean + change, clean, {0}, {norm, epsilon})[0].accepted;
  };
  EXPECT_TRUE(accepted(0.1, Norm::kLinf, 0.1));
  EXPECT_FALSE(accepted(0.1001, Norm::kLinf, 0.1));
  EXPECT_TRUE(accepted(0.1, Norm::kL2, 0.14142136));
  EXPECT_FALSE(accepted(0.1, Norm::kL2, 0.1414));
  EXPECT_TRUE(accepted(0.1, Norm::kL1, 0.2));
  EXPECT_FALSE(accepted(0.1, Norm::kL0, 1));
  EXPECT_TRUE(accepted(0.1, Norm::kL0, 2));
}

v1::AttackSpec ShapesSpec() {
  v1::AttackSpec spec;
  spec.mutable_data()->mutable_builtin()->set_name("shapes");
  spec.mutable_data()->set_end(24);
  *spec.add_attacks() = Entry("fgsm", 0.05);
  *spec.add_attacks() = Entry("pgd", 0.05, {{"steps", 3}});
  spec.add_outputs(v1::SAMPLE_TABLE);
  spec.add_outputs(v1::ADVERSARIAL_EXAMPLES);
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

TEST(AttackRun, GoesFromSpecToReport) {
  MemoryRunContext context = ShapesContext();
  v1::AttackReport report;
  const absl::Status status = Evaluate(ShapesSpec(), context, report);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(report.num_samples(), 24);
  EXPECT_EQ(report.selection(), "ids 0..23");
  EXPECT_EQ(report.split(), "test");
  EXPECT_EQ(report.checks_size(), 33);
  EXPECT_NE(report.verdict(), v1::TRUSTED);  // neither targeted nor black-box
  EXPECT_NE(report.verdict(), v1::VERDICT_UNSPECIFIED);
  ASSERT_EQ(report.attacks_size(), 2);
  EXPECT_EQ(report.attacks(1).after_accuracy().correct(), report.robust_accuracy().correct());
  EXPECT_EQ(report.attacks(1).attack().params().fields().at("steps").number_value(), 3);
  EXPECT_EQ(report.config_hash().size(), 64);
  int64_t in_classes = 0;
  for (const v1::ClassBlock& block : report.classes()) in_classes += block.clean_accuracy().total();
  EXPECT_EQ(in_classes, 24);
  EXPECT_EQ(context.progress.back().fraction_ratio(), 1);
  EXPECT_NE(context.FindArtifact("sample_table"), nullptr);

  const auto* set = context.FindArtifact("adversarial_examples");
  ASSERT_NE(set, nullptr);
  const auto parsed = ParseSafetensors(FileView::Own(set->bytes));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->metadata.at("schema"), "adamant.adv_set/1");
  EXPECT_EQ(parsed->tensors.at("x_adv").size(0), 24);
  EXPECT_LE(parsed->tensors.at("linf").max().item<float>(), 0.05F + 1e-6F);
}

TEST(AttackRun, ReportsAreBitEqualForAnyNumberOfSamplesInFlight) {
  std::vector<std::string> reports;
  for (const int batch_size : {1, 37, 1000}) {
    MemoryRunContext context = ShapesContext();
    v1::AttackSpec spec = ShapesSpec();
    spec.set_batch_size(batch_size);
    spec.set_compute_batch(8);
    v1::AttackReport report;
    const absl::Status status = Evaluate(spec, context, report);
    ASSERT_TRUE(status.ok()) << status;
    // What it cost is not the result: time, and padding of calls that were not full.
    report.clear_seconds();
    report.clear_final_check_seconds();
    report.clear_padded_rows();
    report.clear_adversarial_examples();  // its metadata holds the time of creation
    for (v1::AttackBlock& block : *report.mutable_attacks()) {
      block.clear_seconds();
      block.clear_padded_rows();
    }
    reports.push_back(report.DebugString() + context.FindArtifact("sample_table")->bytes);
  }
  EXPECT_EQ(reports[0], reports[1]);
  EXPECT_EQ(reports[0], reports[2]);
}

TEST(AttackRun, NamesBothSizesWhenTheModelDoesNotFitTheData) {
  MemoryRunContext context = ShapesContext();
  context.UseFreshModel(Plugin("mini_gap"), {3, 32, 32, 10});
  v1::AttackReport report;
  const absl::Status status = Evaluate(ShapesSpec(), context, report);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("takes images of 3x32x32, found 1x28x28"));
}

TEST(AttackRun, CraftModeJudgesTheLastIterateOnly) {
  MemoryRunContext context = ShapesContext();
  v1::AttackSpec spec = ShapesSpec();
  spec.set_mode(v1::CRAFT);
  v1::AttackReport report;
  ASSERT_TRUE(Evaluate(spec, context, report).ok());
  EXPECT_EQ(report.attacks(0).forwards(), report.attacks(0).attacked());
  EXPECT_EQ(report.attacks(1).forwards(), 3 * report.attacks(1).attacked());
}

TEST(AttackRun, SearchesInALowerPrecisionAndVerifiesInFloat32) {
  MemoryRunContext context = ShapesContext();
  v1::AttackSpec spec = ShapesSpec();
  v1::AttackReport exact, low;
  ASSERT_TRUE(Evaluate(spec, context, exact).ok());
  spec.set_search_precision("bf16");
  const absl::Status done = Evaluate(spec, context, low);
  ASSERT_TRUE(done.ok()) << done;
  EXPECT_EQ(low.search_precision(), "bf16");
  EXPECT_NE(low.config_hash(), exact.config_hash());
  EXPECT_EQ(low.clean_accuracy().correct(), exact.clean_accuracy().correct());
  EXPECT_NEAR(low.robust_accuracy().ratio(), exact.robust_accuracy().ratio(), 0.1);
  EXPECT_THAT(low.notes(), Contains(HasSubstr("search in bf16: on")));
  for (const v1::ValidityCheck& check : low.checks()) {
    if (check.id() != "V30") continue;  // claims that float32 refuses say nothing about rounding
    EXPECT_EQ(check.value(), low.fragile() / static_cast<double>(low.num_samples()));
  }
  spec.set_search_precision("fp8");
  EXPECT_THAT(std::string(Evaluate(spec, context, low).message()), HasSubstr("known: fp32, bf16"));
}

TEST(MeasureRobustness, LeavesModeAndBuffersAlone) {
  const auto model = testing::ToyBatchNorm(kShape);
  model->Train(true);
  const at::Tensor mean = model->Buffers()[0].second.clone();
  Batch batch = ToyBatch(*model, 20);
  model->Buffers()[0].second.copy_(mean);
  const auto measure = MeasureRobustness(*model, SamplesOf(batch),
                                         List({Entry("fgsm", 0.1), Entry("pgd", 0.1)}), {}, {});
  ASSERT_TRUE(measure.ok()) << measure.status();
  EXPECT_EQ(measure->robust_accuracy.size(), 2);
  EXPECT_EQ(measure->robust_accuracy[1].name(), "pgd");
  EXPECT_LE(measure->worst_case.correct(), measure->robust_accuracy[0].accuracy().correct());
  EXPECT_TRUE(model->training());
  EXPECT_TRUE(model->Buffers()[0].second.equal(mean));
}

TEST(Selection, IsDescribedInWords) {
  EXPECT_EQ(SelectionText({}), "no ids");
  EXPECT_EQ(SelectionText({5, 6, 7}), "ids 5..7");
  EXPECT_EQ(SelectionText({5, 9, 7}), "3 ids from 5 to 9");
}

}  // namespace
}  // namespace adamant
