// SPDX-License-Identifier: Apache-2.0
// Every check of the validity report on facts made by hand.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/statistics.h"
#include "core/run/validity/check.h"
#include "core/run/validity/verdict.h"

namespace adamant::validity {
namespace {

constexpr auto kPass = v1::ValidityCheck::PASS;
constexpr auto kFail = v1::ValidityCheck::FAIL;
constexpr auto kNotRun = v1::ValidityCheck::NOT_RUN;

void ExpectPass(const Finding& found) { EXPECT_EQ(found.status, kPass) << found.text; }
void ExpectNotRun(const Finding& found, const std::string& why) {
  EXPECT_EQ(found.status, kNotRun);
  EXPECT_EQ(found.text, why);
}
void ExpectFail(const Finding& found, v1::ValidityCheck::Severity severity,
                const std::string& text) {
  EXPECT_EQ(found.status, kFail);
  EXPECT_EQ(found.severity, severity);
  EXPECT_EQ(found.text, text);
}

ValidityFacts Facts(int64_t samples, int64_t clean, int64_t robust) {
  ValidityFacts facts;
  facts.samples = samples;
  facts.clean = MakeAccuracy(clean, samples);
  facts.robust = MakeAccuracy(robust, samples);
  facts.broken = clean - robust;
  facts.broken_8bit = facts.broken;
  facts.num_classes = 10;
  facts.label_classes = 10;
  return facts;
}

AttackFacts Pgd(double epsilon, int64_t steps, double step_size) {
  AttackFacts out;
  out.name = "pgd";
  out.epsilon = epsilon;
  out.gradient = out.untargeted = true;
  out.steps = steps;
  out.step_size = step_size;
  out.loss = "ce";
  return out;
}
AttackFacts Targeted() {
  AttackFacts out;
  out.name = "apgd_t";
  out.gradient = out.targeted = out.needs_logits = true;
  return out;
}
AttackFacts Square() {
  AttackFacts out;
  out.name = "square";
  out.forward_only = true;
  return out;
}

TEST(Validity, V01InputRange) {
  ValidityFacts facts;
  ExpectNotRun(InputRange(facts), "runs with depth full");
  facts.pixels = PixelRange{0, 1, 5};
  ExpectPass(InputRange(facts));
  facts.pixels = PixelRange{-0.5, 1, 5};
  ExpectFail(InputRange(facts), kError,
             "pixel range [-0.5, 1] is outside [0,1]; epsilon has no meaning");
}

TEST(Validity, V02LogitsNotProbabilities) {
  ValidityFacts facts;
  facts.probabilities = Share{3, 4};
  ExpectPass(LogitsNotProbabilities(facts));
  facts.probabilities = Share{4, 4};
  facts.attacks = {Pgd(0.1, 0, 0)};
  const std::string text = "outputs look like probabilities; attack losses need logits";
  ExpectFail(LogitsNotProbabilities(facts), kWarning, text);
  facts.attacks.push_back(Targeted());
  ExpectFail(LogitsNotProbabilities(facts), kError, text);
}

TEST(Validity, V03DeterministicForward) {
  ValidityFacts facts;
  facts.noise = ForwardNoise{1e-4, 9, 9, 10};
  ExpectPass(DeterministicForward(facts));
  facts.noise = ForwardNoise{0, 8, 9, 10};
  EXPECT_EQ(DeterministicForward(facts).status, kFail);
  facts.noise = ForwardNoise{0.25, 9, 9, 10};
  const std::string text =
      "the forward pass is random (difference 0.25); needs EOT: use version rand, eot >= 20";
  ExpectFail(DeterministicForward(facts), kError, text);
  facts.attacks = {Pgd(0.1, 0, 0)};
  facts.attacks[0].name = "eot_pgd";
  ExpectFail(DeterministicForward(facts), kWarning, text);
}

TEST(Validity, V04BatchInvariance) {
  ValidityFacts facts;
  facts.batch_rows = Share{32, 32};
  facts.batch_difference = 1e-3;
  ExpectPass(BatchInvariance(facts));
  facts.batch_difference = 2e-3;
  ExpectFail(BatchInvariance(facts), kError,
             "a sample's logits depend on its batch (train-mode batch norm or cross-sample "
             "operation)");
}

TEST(Validity, V05StaticModel) {
  ValidityFacts facts;
  facts.changes = std::string();
  ExpectPass(StaticModel(facts));
  facts.changes = std::string("a buffer");
  ExpectFail(StaticModel(facts), kWarning,
             "the model changes at test time; attack the static base and use an adaptive attack");
}

TEST(Validity, V06ZeroGradient) {
  ValidityFacts facts;
  facts.zero_gradients = ZeroGradients{200, {{"ce", 0}, {"margin", 0}, {"dlr", 0}}};
  ExpectPass(ZeroGradient(facts));
  facts.zero_gradients = ZeroGradients{200, {{"ce", 7}, {"margin", 2}, {"dlr", 0}}};
  ExpectFail(ZeroGradient(facts), kWarning,
             "7 of 200 samples have a zero gradient for ce: white-box results may be masked; "
             "2 of 200 samples have a zero gradient for margin: white-box results may be masked");
  facts.zero_gradients = ZeroGradients{200, {{"margin", 3}}};
  ExpectFail(ZeroGradient(facts), kError,
             "3 of 200 samples have a zero gradient for margin: white-box results may be masked");
}

TEST(Validity, V07FiniteValues) {
  ValidityFacts facts = Facts(10, 10, 5);
  ExpectPass(FiniteValues(facts));
  facts.nonfinite_grads = 3;
  ExpectFail(FiniteValues(facts), kWarning, "3 non-finite gradients");
  facts.nonfinite_logits = 2;
  ExpectFail(FiniteValues(facts), kError, "2 non-finite logits; 3 non-finite gradients");
  facts = Facts(10, 10, 5);
  facts.errors = 1;
  ExpectFail(FiniteValues(facts), kError, "1 non-finite clean outputs");
}

TEST(Validity, V08ClassCount) {
  ValidityFacts facts = Facts(10, 10, 5);
  facts.num_classes = facts.label_classes = 2;
  facts.attacks = {Targeted()};
  ExpectPass(ClassCount(facts));
  facts.attacks[0].notes = {"dlr replaced by margin"};
  ExpectFail(ClassCount(facts), kInfo, "K=2: dlr replaced by margin");
  facts.label_classes = 1;
  ExpectFail(ClassCount(facts), kError, "K=2: all 10 labels are of one class");
}

TEST(Validity, V09CleanAccuracy) {
  ValidityFacts facts = Facts(1000, 982, 920);
  ExpectNotRun(CleanAccuracy(facts), "no clean accuracy was declared");
  facts.declared_clean = 0.9864;  // .44 points off, inside of the interval
  ExpectPass(CleanAccuracy(facts));
  facts.declared_clean = 0.5;
  ExpectFail(CleanAccuracy(facts), kWarning,
             "clean accuracy 98.20 %, declared 50.00 %: wrong normalisation, labels or subset?");
}

TEST(Validity, V10EpsilonBound) {
  ValidityFacts facts = Facts(10, 10, 6);
  facts.bounds = std::vector<ClassifierBound>{{0.1, 0.6, 1, 10}};
  ExpectPass(EpsilonBound(facts));
  facts.bounds = std::vector<ClassifierBound>{{0.5, 0.6, 0.6, 10}};
  ExpectFail(EpsilonBound(facts), kWarning,
             "epsilon 0.5 is degenerate here: no classifier can exceed 60.00 %");
  facts.bounds = std::vector<ClassifierBound>{{0.5, 0.7, 0.6, 10}};
  ExpectFail(EpsilonBound(facts), kError,
             "the measured 70.00 % exceeds 60.00 %, the most any classifier can reach at this "
             "epsilon: the attack did not converge or is not white-box");
}

TEST(Validity, V11TravelLimit) {
  ValidityFacts facts;
  ExpectNotRun(TravelLimit(facts), "no attack has a fixed step size");
  facts.attacks = {Pgd(0.3, 40, 0.01875)};  // q = 2.5
  ExpectPass(TravelLimit(facts));
  facts.attacks = {Pgd(0.3, 10, 0.01)};
  ExpectFail(TravelLimit(facts), kWarning, "the attack can move at most 0.1 of 0.3");
  facts.attacks = {Pgd(0.3, 20, 0.01)};
  ExpectFail(TravelLimit(facts), kWarning, "the attack can move at most 0.2 of 0.3");
  facts.attacks = {Pgd(0.03, 10, 0.003)};  // PCL: q = 1
  ExpectFail(TravelLimit(facts), kInfo, "the attack can move at most 0.03 of 0.03");
  facts.attacks = {Pgd(0.25, 63, 1.0 / 256), Pgd(0.5, 63, 1.0 / 256)};
  ExpectFail(TravelLimit(facts), kError, "results at 0.25 and 0.5 come from the same attack");
  facts.attacks = {Pgd(0.25, 64, 1.0 / 256), Pgd(0.5, 64, 1.0 / 256)};
  ExpectFail(TravelLimit(facts), kWarning, "the attack can move at most 0.25 of 0.5");
  facts.attacks = {Pgd(0.5, 128, 1.0 / 256)};
  EXPECT_EQ(TravelLimit(facts).severity, kInfo);
}

TEST(Validity, V12IterativeVsOneStep) {
  const auto table6 = [](double iterative, double one_step) {
    ValidityFacts facts;
    facts.one_step = OneStepComparison{std::nullopt, iterative, one_step, 1000};
    return IterativeVsOneStep(facts);
  };
  EXPECT_EQ(table6(23.67, 9.94).status, kFail);   // ALP
  EXPECT_EQ(table6(29.15, 14.86).status, kFail);  // ALP+AAD
  ExpectPass(table6(10.11, 11.47));               // Madry+AAD
  ValidityFacts facts;
  facts.one_step = OneStepComparison{10, 0, 0, 1000};
  ExpectPass(IterativeVsOneStep(facts));
  facts.one_step = OneStepComparison{11, 0, 0, 1000};
  ExpectFail(IterativeVsOneStep(facts), kWarning,
             "one-step attack is stronger than the iterative one on 11 samples: masking or too few "
             "steps");
}

TEST(Validity, V13WhiteVsBlack) {
  ValidityFacts facts;
  facts.only_black_box = Share{2, 1000};
  ExpectPass(WhiteVsBlack(facts));
  facts.only_black_box = Share{3, 1000};
  ExpectFail(WhiteVsBlack(facts), kWarning,
             "black-box beats white-box on 3 samples: gradient masking");
}

TEST(Validity, V14SquareHelps) {
  ValidityFacts facts;
  facts.square_drop = 0.2;
  ExpectPass(SquareHelps(facts));
  facts.square_drop = 1.6;
  ExpectFail(SquareHelps(facts), kWarning,
             "Square reduced robust accuracy by 1.60 points: gradients may be masked");
  facts.follow_up = {{"a longer Square", 86.5}};
  ExpectFail(SquareHelps(facts), kWarning,
             "Square reduced robust accuracy by 1.60 points: gradients may be masked; a longer "
             "Square leaves 86.50 %");
}

TEST(Validity, V15RandomSearch) {
  ValidityFacts facts;
  facts.random_search = NoiseSearch{0, 64, 3};
  ExpectPass(RandomSearch(facts));
  facts.random_search = NoiseSearch{3, 64, 3};
  ExpectFail(RandomSearch(facts), kWarning, "random search beats the gradient");
  facts.random_search = NoiseSearch{4, 64, 3};
  ExpectFail(RandomSearch(facts), kError, "random search beats the gradient");
}

TEST(Validity, V16EpsilonMonotone) {
  ValidityFacts facts;
  facts.epsilons = std::vector<EpsilonPair>{{0.1, 0.2, 1, 40, 256}};
  ExpectPass(EpsilonMonotone(facts));
  // 4 recovered: 4 > 2 * sqrt(4 - 16/256) = 3.97; 3 recovered: 3 < 2 * sqrt(3 - 9/256).
  facts.epsilons = std::vector<EpsilonPair>{{0.1, 0.2, 3, 0, 256}};
  ExpectPass(EpsilonMonotone(facts));
  facts.epsilons = std::vector<EpsilonPair>{{0.1, 0.2, 4, 0, 256}};
  ExpectFail(EpsilonMonotone(facts), kWarning, "accuracy rises with epsilon");
}

TEST(Validity, V17UnboundedAttack) {
  ValidityFacts facts;
  facts.num_classes = 10;
  facts.unbounded = Share{0, 64};
  ExpectPass(UnboundedAttack(facts));
  facts.unbounded = Share{1, 64};
  ExpectFail(UnboundedAttack(facts), kWarning,
             "an unbounded attack leaves 1.56 %: the gradients do not lead to errors");
  facts.unbounded = Share{16, 64};
  ExpectFail(UnboundedAttack(facts), kError,
             "an unbounded attack leaves 25.00 %: the gradients do not lead to errors");
}

TEST(Validity, V18Convergence) {
  ValidityFacts facts = Facts(1000, 980, 900);
  ExpectNotRun(Convergence(facts), "runs with depth full");
  facts.doublings = std::vector<Doubling>{{40, 90, 89.5, -2, -2}};
  ExpectPass(Convergence(facts));
  facts.doublings = std::vector<Doubling>{{40, 90, 89.4, -2, -2}};
  ExpectFail(Convergence(facts), kWarning, "not converged at 40 steps");
  facts.doublings = std::vector<Doubling>{{40, 90, 90, -2, -1.97}};
  ExpectFail(Convergence(facts), kWarning, "not converged at 40 steps");
  facts.attacks = {Pgd(0.3, 40, 0.01)};
  facts.attacks[0].accuracy_by_step = {0.9, 0.8, 0.85};
  ExpectFail(Convergence(facts), kError, "robust accuracy rises from one step to a later one");
}

TEST(Validity, V19IncompleteOptimisation) {
  ValidityFacts facts;
  std::vector<double> rising;   // 20 steps of equal rise: the last 10 are half of it
  std::vector<double> settled;  // all of the rise in the first 10 steps
  std::vector<double> zigzag;   // falls in every second step, best value first
  for (int i = 0; i <= 20; ++i) {
    rising.push_back(i);
    settled.push_back(std::min(i, 10));
    zigzag.push_back(i == 0 ? 9 : -i);
  }
  std::vector<std::vector<double>> curves(20, settled);
  curves[0] = rising;  // 5 %
  facts.loss_curves = curves;
  ExpectPass(IncompleteOptimisation(facts));
  curves[1] = rising;
  facts.loss_curves = curves;
  ExpectFail(IncompleteOptimisation(facts), kWarning, "loss still rising at the end on 10.0 %");
  facts.loss_curves = std::vector<std::vector<double>>{zigzag};
  ExpectFail(IncompleteOptimisation(facts), kInfo,
             "loss is not monotone: step too large or noisy gradient");
}

TEST(Validity, V20Restarts) {
  ValidityFacts facts;
  facts.restarts = std::pair{92.0, 91.5};
  ExpectPass(Restarts(facts));
  facts.restarts = std::pair{92.0, 91.0};
  ExpectFail(Restarts(facts), kWarning, "more restarts still help: 92.00 % -> 91.00 %");
}

TEST(Validity, V21SilentSuccess) {
  ValidityFacts facts;
  facts.silent = Share{0, 10};
  ExpectPass(SilentSuccess(facts));
  facts.silent = Share{2, 10};
  ExpectFail(SilentSuccess(facts), kError,
             "2 samples have a verified adversarial iterate but count as robust");
}

TEST(Validity, V22UnstablePredictions) {
  ValidityFacts facts;
  facts.loss_noise = 0.1;
  ExpectPass(UnstablePredictions(facts));
  facts.loss_noise = 0.11;
  ExpectFail(UnstablePredictions(facts), kWarning,
             "loss is unstable around the data; use EOT or a smoothed attack");
}

TEST(Validity, V23PreprocessingGap) {
  ValidityFacts facts = Facts(200, 200, 200);
  ExpectNotRun(PreprocessingGap(facts), "no adversarial image was found");
  facts = Facts(200, 200, 100);
  facts.broken_8bit = 95;
  ExpectPass(PreprocessingGap(facts));
  facts.broken_8bit = 94;
  ExpectFail(PreprocessingGap(facts), kWarning,
             "6.0 % of adversarial images do not survive preprocessing");
}

TEST(Validity, V24Binarization) {
  ValidityFacts facts;
  ExpectNotRun(Binarization(facts), "runs with depth full");
  facts.binarized = Binarized{190, 100, 200};
  ExpectPass(Binarization(facts));
  facts.binarized = Binarized{189, 100, 200};
  ExpectFail(Binarization(facts), kWarning,
             "the attack misses known adversarial points in 5.5 % of cases");
  facts.binarized = Binarized{189, 101, 200};
  ExpectNotRun(Binarization(facts),
               "random search already finds the known adversarial points in 50.5 % of cases");
}

TEST(Validity, V25AttackSelfTest) {
  ValidityFacts facts;
  ExpectNotRun(AttackSelfTest(facts), "runs with depth full");
  facts.self_test = std::vector<std::string>{};
  ExpectPass(AttackSelfTest(facts));
  facts.self_test = std::vector<std::string>{"toy_linear"};
  ExpectFail(AttackSelfTest(facts), kError,
             "attack configuration fails on a model with a known answer: toy_linear");
}

TEST(Validity, V26CertifiedFloor) {
  ValidityFacts facts = Facts(10000, 9820, 9594);
  ExpectNotRun(CertifiedFloor(facts), "no certified accuracy was declared");
  facts.declared_certified = 0.942;
  ExpectPass(CertifiedFloor(facts));
  facts.declared_certified = 0.97;
  ExpectFail(CertifiedFloor(facts), kError,
             "attack result is below the certificate: bug in epsilon, bounds or data");
}

TEST(Validity, V27AttackMix) {
  ValidityFacts facts;
  facts.attacks = {Pgd(0.3, 40, 0.01), Targeted(), Square()};
  ExpectPass(AttackMix(facts));
  facts.attacks.pop_back();
  ExpectFail(AttackMix(facts), kWarning, "only pgd, apgd_t ran");
  facts.attacks.pop_back();
  ExpectFail(AttackMix(facts), kWarning, "only pgd ran");
}

TEST(Validity, V28AdaptiveNeeded) {
  ValidityFacts facts;
  ExpectNotRun(AdaptiveNeeded(facts), "the model declares no auxiliary defence");
  facts.noise = ForwardNoise{0.5, 1, 2, 3};
  facts.attacks = {Pgd(0.3, 40, 0.01)};
  ExpectFail(AdaptiveNeeded(facts), kWarning, "defence randomisation: adaptive attack missing");
  facts.attacks[0].adaptive = true;
  ExpectPass(AdaptiveNeeded(facts));
  facts = {};
  facts.declared_defence = "prototypes";
  ExpectFail(AdaptiveNeeded(facts), kInfo, "defence prototypes: adaptive attack missing");
}

TEST(Validity, V29AttackDiversity) {
  ValidityFacts facts = Facts(200, 200, 100);
  facts.attacks = {Pgd(0.3, 40, 0.01)};
  ExpectNotRun(AttackDiversity(facts), "one attack ran");
  facts.attacks.push_back(Square());
  facts.attacks[0].broken = 94;
  facts.attacks[1].broken = 6;
  ExpectPass(AttackDiversity(facts));
  facts.attacks[0].broken = 95;
  facts.attacks[1].broken = 5;
  ExpectFail(AttackDiversity(facts), kInfo, "pgd does all the work");
}

TEST(Validity, V30FragilePoints) {
  ValidityFacts facts = Facts(1000, 980, 900);
  facts.attacks = {Pgd(0.3, 40, 0.01), Pgd(0.3, 0, 0)};
  facts.attacks[1].claims_unseen = true;
  facts.attacks[1].rejected = 900;  // one-step attacks claim everything
  facts.fragile = 3;
  facts.attacks[0].rejected = 2;
  ExpectPass(FragilePoints(facts));
  facts.fragile = 4;
  ExpectFail(FragilePoints(facts), kWarning, "6 decisions are within rounding");
}

TEST(Validity, V31SampleSize) {
  ExpectPass(SampleSize(Facts(1000, 982, 920)));  // half width 1.68
  ExpectFail(SampleSize(Facts(100, 98, 92)), kWarning, "n=100: interval ±5.44 points");
  // 1.959964 * sqrt(.25/400 + 1.959964^2/(4*400^2)) / (1 + 1.959964^2/400) = 4.88 points
  ExpectFail(SampleSize(Facts(400, 398, 200)), kWarning, "n=400: interval ±4.88 points");
  ExpectPass(SampleSize(Facts(200, 200, 200)));  // 0.94 points
  EXPECT_EQ(SampleSize(Facts(199, 199, 199)).status, kFail);
}

TEST(Validity, V32LossDisagreement) {
  ValidityFacts facts;
  facts.losses = std::vector<LossPair>{};
  ExpectNotRun(LossDisagreement(facts), "no two attacks differ in their loss alone");
  facts.losses = std::vector<LossPair>{{"ce", "margin", 44.72, 43}};
  ExpectPass(LossDisagreement(facts));
  facts.losses = std::vector<LossPair>{{"ce", "margin", 44.72, 35.79}};  // CIFAR-10 Madry
  ExpectFail(LossDisagreement(facts), kWarning, "the ce attack misses 8.93 points");
  facts.losses = std::vector<LossPair>{{"ce", "margin", 1.3, 18.05}};  // ImageNet Madry+AAD
  ExpectFail(LossDisagreement(facts), kWarning, "the margin attack misses 16.75 points");
}

TEST(Validity, V33Protocol) {
  ValidityFacts facts;
  facts.attacks = {Pgd(0.3, 40, 0.01)};
  ExpectPass(Protocol(facts));
  facts.craft = true;
  ExpectFail(Protocol(facts), kError,
             "last-iterate protocol: successes along the way are not counted");
  facts.attacks[0].transfer = true;
  ExpectFail(Protocol(facts), kError, "transfer protocol: not a robust accuracy");
}

std::vector<v1::ValidityCheck> AllPassed() {
  std::vector<v1::ValidityCheck> out;
  for (const Check& check : AllChecks()) {
    v1::ValidityCheck& one = out.emplace_back();
    one.set_id(check.id);
    one.set_status(check.mandatory ? kPass : kNotRun);
  }
  return out;
}

TEST(Verdict, IsTrustedOnlyWhenEveryMandatoryCheckRanAndPassed) {
  std::vector<v1::ValidityCheck> checks = AllPassed();
  ASSERT_EQ(checks.size(), 33);
  EXPECT_EQ(VerdictOf(checks).verdict, v1::TRUSTED);
  checks[8].set_status(kNotRun);
  checks[8].set_text("no clean accuracy was declared");
  EXPECT_EQ(VerdictOf(checks).verdict, v1::UNCHECKED);
  EXPECT_EQ(VerdictOf(checks).reason, "not run: V09 no clean accuracy was declared");
  checks = AllPassed();
  checks.erase(checks.begin());
  EXPECT_EQ(VerdictOf(checks).verdict, v1::UNCHECKED);
  EXPECT_EQ(VerdictOf({}).verdict, v1::UNCHECKED);
}

TEST(Verdict, TakesTheWorstFailure) {
  std::vector<v1::ValidityCheck> checks = AllPassed();
  const auto fail = [&](size_t index, v1::ValidityCheck::Severity severity, const char* text) {
    checks[index].set_status(kFail);
    checks[index].set_severity(severity);
    checks[index].set_text(text);
  };
  fail(7, kInfo, "K=2");
  EXPECT_EQ(VerdictOf(checks).verdict, v1::TRUSTED);
  fail(26, kWarning, "only pgd ran");
  EXPECT_EQ(VerdictOf(checks).verdict, v1::CAUTION);
  EXPECT_EQ(VerdictOf(checks).reason, "V27 only pgd ran");
  fail(0, kError, "outside");
  EXPECT_EQ(VerdictOf(checks).verdict, v1::INVALID);
  EXPECT_EQ(VerdictOf(checks).reason, "V01 outside");
}

}  // namespace
}  // namespace adamant::validity
