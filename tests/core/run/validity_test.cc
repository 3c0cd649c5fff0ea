// SPDX-License-Identifier: Apache-2.0
// The validity report of evaluations whose answer is known.
#include "core/run/validity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "core/base/torch.h"
#include "core/run/attack_report.h"
#include "core/run/validity/measure.h"
#include "tests/support/test_data.h"
#include "tests/support/torch/memory_run_context.h"
#include "tests/support/torch/reference.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using testing::ToyModel;

constexpr ModelShape kShape{1, 4, 4, 2};
constexpr auto kPass = v1::ValidityCheck::PASS;
constexpr auto kFail = v1::ValidityCheck::FAIL;
constexpr auto kNotRun = v1::ValidityCheck::NOT_RUN;

v1::AttackEntry Entry(const std::string& attack, double epsilon,
                      const std::vector<std::pair<std::string, double>>& params = {}) {
  v1::AttackEntry entry;
  *entry.mutable_attack() = Plugin(attack, params);
  entry.mutable_threat()->set_norm(v1::LINF);
  entry.mutable_threat()->set_epsilon(epsilon);
  return entry;
}

struct Checked {
  v1::AttackReport report;
  std::map<std::string, v1::ValidityCheck> checks;
};

Checked Check(Model& model, const Batch& batch, const std::vector<v1::AttackEntry>& entries,
              const std::string& depth = "quick") {
  v1::AttackSpec spec;
  spec.set_depth(depth);
  for (const v1::AttackEntry& entry : entries) *spec.add_attacks() = entry;
  const auto instances = MakeInstances(spec.attacks(), model.info().shape);
  EXPECT_TRUE(instances.ok()) << instances.status();
  const Samples samples = SamplesOf(batch);
  const EvaluationOptions options;
  const RunControl control;
  const auto result = RunEvaluation(model, samples, *instances, options, control);
  EXPECT_TRUE(result.ok()) << result.status();
  Checked out;
  FillReport(*result, *instances, spec, model.info().shape.num_classes, out.report);
  const absl::Status status =
      RunValidityChecks({model, samples, spec, *instances, options, *result, control}, out.report);
  EXPECT_TRUE(status.ok()) << status;
  for (const v1::ValidityCheck& check : out.report.checks()) out.checks[check.id()] = check;
  return out;
}

// Class 0 below a mean of .5, by `logit` of the mean above it.
testing::ToyPointer MeanModel(std::function<at::Tensor(const at::Tensor& excess)> logit) {
  return std::make_unique<ToyModel>(kShape, [logit](const at::Tensor& images, bool) {
    const at::Tensor excess = images.flatten(1).mean(1) - 0.5;
    const at::Tensor z = logit(excess);
    return at::stack({-z, z}, 1);
  });
}

// Flat images of the given values; class 1 above .5.
Batch FlatBatch(const std::vector<float>& values) {
  const auto n = static_cast<int64_t>(values.size());
  const at::Tensor level = at::tensor(values);
  return {level.view({n, 1, 1, 1}).expand({n, 1, 4, 4}).contiguous(), (level > 0.5).to(at::kLong),
          at::arange(n, at::kLong)};
}

TEST(ValidityReport, CountsPairsWhoseBallsMeet) {
  const at::Tensor images = at::tensor({0.0F, 0.1F, 0.5F, 0.55F, 0.56F}).view({5, 1, 1, 1});
  const at::Tensor labels = at::tensor({0, 1, 0, 1, 1}, at::kLong);
  using validity::CountMeetingPairs;
  EXPECT_EQ(CountMeetingPairs(images, labels, v1::LINF, 0.05), 2);
  EXPECT_EQ(CountMeetingPairs(images, labels, v1::LINF, 0.03), 1);
  EXPECT_EQ(CountMeetingPairs(images, labels, v1::L2, 0.01), 0);
  EXPECT_EQ(CountMeetingPairs(images, at::zeros({5}, at::kLong), v1::LINF, 0.5), 0);
}

TEST(ValidityReport, PassesAPlainModelOnTheChecksThatAskAboutTheModel) {
  const auto model = MeanModel([](const at::Tensor& excess) { return 10 * excess; });
  const Checked seen =
      Check(*model, FlatBatch({0.1F, 0.2F, 0.45F, 0.7F, 0.8F, 0.9F}), {Entry("pgd", 0.1)});
  for (const char* id : {"V01", "V02", "V03", "V04", "V05", "V06", "V07", "V08", "V10", "V11",
                         "V12", "V17", "V19", "V21", "V33"}) {
    EXPECT_EQ(seen.checks.at(id).status(), kPass) << seen.checks.at(id).ShortDebugString();
  }
  for (const char* id : {"V09", "V13", "V14", "V15", "V16", "V18", "V20", "V22", "V24", "V25"}) {
    EXPECT_EQ(seen.checks.at(id).status(), kNotRun) << id;
    EXPECT_FALSE(seen.checks.at(id).text().empty()) << id;
  }
  EXPECT_EQ(seen.checks.at("V27").text(), "only pgd ran");
  EXPECT_EQ(seen.checks.at("V31").status(), kFail);
  EXPECT_EQ(seen.report.verdict(), v1::CAUTION);
  EXPECT_THAT(seen.report.verdict_reason(), HasSubstr("V27 only pgd ran"));
}

TEST(ValidityReport, FindsMaskedGradientsThatSquareSeesThrough) {
  // Steps of 1/8: the gradient is zero wherever it is defined.
  const auto model =
      MeanModel([](const at::Tensor& excess) { return at::round(80 * excess) / 8 + 0 * excess; });
  v1::AttackEntry pgd = Entry("pgd", 0.2);
  (*pgd.mutable_attack()->mutable_params()->mutable_fields())["random_start"].set_bool_value(false);
  const Checked seen =
      Check(*model, FlatBatch({0.45F, 0.42F, 0.55F, 0.58F}), {pgd, Entry("square", 0.2)});
  EXPECT_EQ(seen.report.robust_accuracy().correct(), 0);
  EXPECT_EQ(seen.checks.at("V06").status(), kFail);
  EXPECT_EQ(seen.checks.at("V06").severity(), v1::ValidityCheck::SEVERITY_ERROR);
  EXPECT_EQ(seen.checks.at("V13").text(),
            "black-box beats white-box on 4 samples: gradient masking");
  EXPECT_EQ(seen.checks.at("V14").text(),
            "Square reduced robust accuracy by 100.00 points: gradients may be masked");
  EXPECT_EQ(seen.checks.at("V17").text(),
            "an unbounded attack leaves 100.00 %: the gradients do not lead to errors");
  EXPECT_EQ(seen.report.verdict(), v1::INVALID);
}

TEST(ValidityReport, FindsProbabilitiesNoiseAndDependenceOnTheBatch) {
  const Batch batch = FlatBatch({0.1F, 0.2F, 0.45F, 0.6F, 0.8F, 0.9F, 0.3F, 0.7F});
  const auto probable = std::make_unique<ToyModel>(kShape, [](const at::Tensor& images, bool) {
    const at::Tensor z = 10 * (images.flatten(1).mean(1) - 0.5);
    return at::softmax(at::stack({-z, z}, 1), 1);
  });
  EXPECT_EQ(Check(*probable, batch, {Entry("fgsm", 0.01)}).checks.at("V02").status(), kFail);
  auto calls = std::make_shared<int>(0);
  const auto noisy = std::make_unique<ToyModel>(kShape, [calls](const at::Tensor& images, bool) {
    const at::Tensor z = 10 * (images.flatten(1).mean(1) - 0.5);
    return at::stack({-z, z + 0.05 * (++*calls % 2)}, 1);
  });
  const auto crossing =
      MeanModel([](const at::Tensor& excess) { return excess * (1 + excess.square().sum()); });
  const Checked random = Check(*noisy, batch, {Entry("fgsm", 0.001)});
  EXPECT_EQ(random.checks.at("V03").status(), kFail);
  EXPECT_EQ(random.checks.at("V28").text(), "defence randomisation: adaptive attack missing");
  EXPECT_EQ(Check(*crossing, batch, {Entry("fgsm", 0.001)}).checks.at("V04").status(), kFail);
}

TEST(ValidityReport, IsEmptyButCompleteWithoutSamples) {
  const auto model = MeanModel([](const at::Tensor& excess) { return excess; });
  const Batch none{at::zeros({0, 1, 4, 4}), at::zeros({0}, at::kLong), at::zeros({0}, at::kLong)};
  const Checked seen = Check(*model, none, {Entry("pgd", 0.1)});
  EXPECT_EQ(seen.report.checks_size(), 33);
  EXPECT_EQ(seen.report.verdict(), v1::UNCHECKED);
  EXPECT_EQ(seen.checks.at("V01").text(), "there are no samples");
}

TEST(ValidityReport, RunsTheFurtherChecksInFull) {
  const auto model = MeanModel([](const at::Tensor& excess) { return 10 * excess; });
  const Checked seen = Check(*model, FlatBatch({0.2F, 0.45F, 0.75F, 0.9F}),
                             {Entry("pgd", 0.12, {{"steps", 10}})}, "full");
  for (const char* id : {"V15", "V16", "V18", "V20", "V24"}) {
    EXPECT_EQ(seen.checks.at(id).status(), kPass) << seen.checks.at(id).ShortDebugString();
  }
  EXPECT_NE(seen.checks.at("V22").status(), kNotRun);
}

TEST(ValidityReport, TriesTheAttacksOnModelsWithAKnownAnswer) {
  const auto model = MeanModel([](const at::Tensor& excess) { return 10 * excess; });
  const Batch batch = FlatBatch({0.2F, 0.9F});
  const auto self_test = [&](const std::vector<v1::AttackEntry>& entries) {
    return Check(*model, batch, entries, "full").checks.at("V25");
  };
  struct Ball {
    v1::Norm norm;
    double epsilon;
  };
  for (const Ball& ball : {Ball{v1::LINF, 4.0 / 255}, Ball{v1::LINF, 0.3}, Ball{v1::L2, 1}}) {
    v1::AttackEntry pgd = Entry("pgd", ball.epsilon, {{"steps", 10}});
    v1::AttackEntry square = Entry("square", ball.epsilon);
    for (v1::AttackEntry* entry : {&pgd, &square}) entry->mutable_threat()->set_norm(ball.norm);
    const v1::ValidityCheck both = self_test({pgd, square});
    EXPECT_EQ(both.status(), kPass) << both.ShortDebugString();
    const v1::ValidityCheck gradient = self_test({pgd});
    EXPECT_EQ(gradient.severity(), v1::ValidityCheck::SEVERITY_ERROR);
    EXPECT_EQ(gradient.text(),
              "attack configuration fails on a model with a known answer: toy_masked");
  }
  EXPECT_EQ(self_test({Entry("pgd", 0.1, {{"steps", 2}, {"step_size", 0.001}})}).text(),
            "attack configuration fails on a model with a known answer: toy_linear, toy_masked");
}

// Its features change in steps: they have no gradient.
class Quantised final : public ToyModel {
 public:
  Quantised()
      : ToyModel(kShape, [](const at::Tensor& images, bool) {
          const at::Tensor z = 10 * (images.flatten(1).mean(1) - 0.5);
          return at::stack({-z, z}, 1);
        }) {}
  at::Tensor Forward(const at::Tensor& images, const TapVisitor& visit) const override {
    return ToyModel::Forward((images * 64).round() / 64, visit);
  }
};

class WithoutTaps final : public ToyModel {
 public:
  WithoutTaps()
      : ToyModel(kShape,
                 [](const at::Tensor& images, bool) { return images.flatten(1).narrow(1, 0, 2); }),
        info_(ToyModel::info()) {
    info_.taps.clear();
  }
  const ModelInfo& info() const override { return info_; }

 private:
  ModelInfo info_;
};

TEST(ValidityReport, FindsAnAttackThatMissesKnownAdversarialPoints) {
  const std::vector<v1::AttackEntry> pgd = {Entry("pgd", 0.1, {{"steps", 10}})};
  const v1::ValidityCheck missed =
      Check(*std::make_unique<Quantised>(), FlatBatch({0.2F, 0.3F, 0.75F}), pgd, "full")
          .checks.at("V24");
  EXPECT_EQ(missed.status(), kFail);
  EXPECT_EQ(missed.severity(), v1::ValidityCheck::SEVERITY_WARNING);
  EXPECT_EQ(missed.n_used(), 3);
  EXPECT_EQ(missed.text(), "the attack misses known adversarial points in 100.0 % of cases");
}

TEST(ValidityReport, DoesNotAskForPointsThatRandomSearchFindsOrThatAreUnknown) {
  // One pixel: 1 in 80 draws lies behind the boundary, between 0.95 and 1 epsilon.
  ToyModel one_pixel({1, 1, 1, 2}, [](const at::Tensor& images, bool) {
    const at::Tensor z = images.flatten(1).select(1, 0) - 0.5;
    return at::stack({-z, z}, 1);
  });
  const Batch batch{at::tensor({0.2F, 0.4F, 0.6F, 0.8F}).view({4, 1, 1, 1}),
                    at::tensor({0, 0, 1, 1}, at::kLong), at::arange(4, at::kLong)};
  const std::vector<v1::AttackEntry> pgd = {Entry("pgd", 0.05, {{"steps", 10}})};
  const v1::ValidityCheck easy = Check(one_pixel, batch, pgd, "full").checks.at("V24");
  EXPECT_EQ(easy.status(), kNotRun);
  EXPECT_THAT(easy.text(), HasSubstr("random search already finds"));
  EXPECT_EQ(Check(*std::make_unique<WithoutTaps>(), FlatBatch({0.2F}), pgd, "full")
                .checks.at("V24")
                .text(),
            "the model names no layer in front of its head");
}

TEST(ValidityReport, SearchesLongerInFullWhereSquareHelped) {
  const auto model =
      MeanModel([](const at::Tensor& excess) { return at::round(80 * excess) / 8 + 0 * excess; });
  v1::AttackEntry pgd = Entry("pgd", 0.2);
  (*pgd.mutable_attack()->mutable_params()->mutable_fields())["random_start"].set_bool_value(false);
  // A single proposal is one image of stripes; 0.1 and 0.9 cannot be broken.
  const Checked seen = Check(*model, FlatBatch({0.1F, 0.45F, 0.9F, 0.55F, 0.58F, 0.42F, 0.57F}),
                             {pgd, Entry("square", 0.2, {{"queries", 1}})}, "full");
  EXPECT_LT(seen.report.robust_accuracy().correct(), 7);
  EXPECT_GT(seen.report.robust_accuracy().correct(), 2);
  EXPECT_THAT(seen.checks.at("V14").text(), HasSubstr("; a longer Square leaves 28.57 %"));
}

TEST(ValidityReport, FindsWhatNoiseBreaksAndTheGradientLeaves) {
  // Steps of 1/8: the gradient is zero. The mean of 16 uniform values of +-.2 has a deviation of
  // .029, so that many of 10 000 draws leave a level that is .05 away from the boundary, and none
  // one that is .35 away.
  const auto model =
      MeanModel([](const at::Tensor& excess) { return at::round(80 * excess) / 8 + 0 * excess; });
  v1::AttackEntry pgd = Entry("pgd", 0.2, {{"steps", 5}});
  (*pgd.mutable_attack()->mutable_params()->mutable_fields())["random_start"].set_bool_value(false);
  const Checked seen = Check(*model, FlatBatch({0.45F, 0.55F, 0.85F}), {pgd}, "full");
  const v1::ValidityCheck& check = seen.checks.at("V15");
  EXPECT_EQ(check.status(), kFail);
  EXPECT_EQ(check.severity(), v1::ValidityCheck::SEVERITY_ERROR);
  EXPECT_EQ(check.text(), "random search beats the gradient");
  EXPECT_EQ(check.value(), 2);
  EXPECT_EQ(check.n_used(), 3);
}

TEST(ValidityReport, OfPgdAloneOnTheAdversarialLeNetIsNotTrusted) {
  REQUIRE_TEST_DATA();
  const auto model = testing::ReferenceModel("mnist_lenet5_adv");
  const Checked seen = Check(*model, testing::MnistTestBatch(100),
                             {Entry("pgd", 0.3, {{"steps", 40}, {"step_size", 0.01}})});
  EXPECT_NE(seen.report.verdict(), v1::TRUSTED);
  EXPECT_EQ(seen.checks.at("V27").status(), kFail);
  EXPECT_EQ(seen.checks.at("V27").text(), "only pgd ran");
  for (const char* id : {"V01", "V02", "V03", "V04", "V05", "V07", "V21", "V33"}) {
    EXPECT_EQ(seen.checks.at(id).status(), kPass) << seen.checks.at(id).ShortDebugString();
  }
  for (const v1::ValidityCheck& check : seen.report.checks()) {
    EXPECT_FALSE(check.status() == v1::ValidityCheck::STATUS_UNSPECIFIED) << check.id();
  }
}

}  // namespace
}  // namespace adamant
