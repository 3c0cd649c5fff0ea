// SPDX-License-Identifier: Apache-2.0
// Every registered attack against the cases of attacks.md 7, with no attack-specific code.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/attacks/attack.h"
#include "core/attacks/losses.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"
#include "core/run/judge.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using testing::ToyBatch;
using testing::ToyPointer;

constexpr ModelShape kShape{1, 8, 8, 5};
constexpr int64_t kSamples = 24;
constexpr int64_t kComputeBatch = 16;

// One registered attack under one of its norms, with the parameters of its declaration for tests.
struct Case {
  std::string attack;
  Norm norm;
  at::DeviceType device = at::kCPU;
};

void PrintTo(const Case& one, std::ostream* out) {
  *out << one.attack << " " << NormName(one.norm);
}

std::vector<Case> Cases(at::DeviceType device) {
  std::vector<Case> cases;
  for (const auto& [name, entry] : Registry<Attack>::All()) {
    for (const Norm norm : {Norm::kLinf, Norm::kL2, Norm::kL1, Norm::kL0}) {
      if (entry.declaration.SupportsNorm(NormName(norm))) cases.push_back({name, norm, device});
    }
    // Gets the whole box as its ball.
    if (entry.declaration.HasTrait("no_ball")) cases.push_back({name, Norm::kLinf, device});
  }
  return cases;
}

std::string CaseName(const ::testing::TestParamInfo<Case>& info) {
  return info.param.attack + "_" + NormName(info.param.norm);
}

using Values = std::vector<std::pair<std::string, google::protobuf::Value>>;

google::protobuf::Value Number(double number) {
  google::protobuf::Value value;
  value.set_number_value(number);
  return value;
}
google::protobuf::Value Word(const std::string& text) {
  google::protobuf::Value value;
  value.set_string_value(text);
  return value;
}
google::protobuf::Value Flag(bool on) {
  google::protobuf::Value value;
  value.set_bool_value(on);
  return value;
}

bool Declares(const std::string& attack, const std::string& param) {
  for (const Param& declared : Registry<Attack>::All().at(attack).declaration.params) {
    if (declared.name() == param) return true;
  }
  return false;
}

// "heuristic": does not follow the gradient all the way, so it need not reach the closed form.
bool HasTrait(const std::string& attack, const std::string& trait) {
  return Registry<Attack>::All().at(attack).declaration.HasTrait(trait);
}

class Conformance : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().device == at::kCUDA && !at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
    if (HasTrait(GetParam().attack, "replays_set")) GTEST_SKIP() << "has no search of its own";
  }

  static absl::StatusOr<std::unique_ptr<Attack>> MakeOr(const Values& values) {
    const Declaration& declaration = Registry<Attack>::All().at(GetParam().attack).declaration;
    v1::PluginSpec spec;
    spec.set_name(GetParam().attack);
    auto& params = *spec.mutable_params()->mutable_fields();
    for (const auto& [name, value] : declaration.test_params) params[name] = Number(value);
    for (const auto& [name, value] : values) {
      if (Declares(spec.name(), name)) params[name] = value;
    }
    return MakePlugin<Attack>(spec);
  }

  static std::unique_ptr<Attack> Make(const Values& values = {}) {
    auto attack = MakeOr(values);
    EXPECT_TRUE(attack.ok()) << attack.status();
    return *std::move(attack);
  }

  // A radius of similar reach in every norm.
  static ThreatModel Threat(double linf) {
    if (HasTrait(GetParam().attack, "no_ball")) return {Norm::kLinf, 1};
    const double values = static_cast<double>(kShape.channels * kShape.height * kShape.width);
    switch (GetParam().norm) {
      case Norm::kLinf:
        return {Norm::kLinf, linf};
      case Norm::kL2:
        return {Norm::kL2, linf * std::sqrt(values)};
      case Norm::kL1:
        return {Norm::kL1, linf * values / 2};
      case Norm::kL0:
        return {Norm::kL0, std::floor(linf * 40)};
    }
    return {};
  }

  static Batch OnDevice(Batch batch) {
    const at::Device device(GetParam().device);
    return {batch.images.to(device), batch.labels.to(device), batch.ids};
  }
};

struct Outcome {
  AttackResult result;
  std::vector<bool> broken;
  int64_t claims = 0;
  int64_t rejected = 0;
  std::vector<Finding> findings;
};

Outcome RunJudged(const Attack& attack, Model& model, const Batch& batch, const ThreatModel& threat,
                  AttackSettings settings = {.stream = "0:test"},
                  int64_t compute_batch = kComputeBatch) {
  Outcome out;
  FixedCaller caller(model, compute_batch, [] {});
  const Batch host{batch.images.cpu().clone(), batch.labels.cpu(), batch.ids};
  VerifyingJudge judge(caller, host, threat);
  settings.judge = &judge;
  Victim victim(model, BatchNormMode::kEval, compute_batch);
  out.result = attack.Run(victim, batch, threat, settings, {});
  int64_t counted = 0;
  for (int64_t i = 0; i < batch.size(); ++i) {
    out.broken.push_back(judge.finding(i).has_value());
    out.claims += judge.claims(i);
    out.rejected += judge.rejected(i);
    if (judge.finding(i).has_value()) out.findings.push_back(*judge.finding(i));
  }
  if (batch.size() > 0) counted = out.result.counts.forwards.sum().item<int64_t>();
  EXPECT_EQ(counted, victim.forwards());
  return out;
}

void ExpectInside(const at::Tensor& images, const Batch& batch, const ThreatModel& threat,
                  Model& model) {
  FixedCaller caller(model, kComputeBatch, [] {});
  const at::Tensor host = batch.labels.cpu();
  const std::vector<int64_t> labels(host.data_ptr<int64_t>(),
                                    host.data_ptr<int64_t>() + host.numel());
  const auto found = VerifyImages(caller, images, batch.images.cpu(), labels, threat);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_TRUE(found[i].inside) << "sample " << i << " at " << found[i].distances.linf << " "
                                 << found[i].distances.l2 << " " << found[i].distances.l1 << " "
                                 << found[i].distances.pixels;
  }
}

// A minimum-norm attack may end outside the ball: at the distance that it tells.
void ExpectReturned(const AttackResult& result, const Batch& batch, const ThreatModel& threat,
                    Model& model) {
  if (!result.min_norm.defined()) return ExpectInside(result.images, batch, threat, model);
  EXPECT_GE(result.images.min().item<float>(), 0);
  EXPECT_LE(result.images.max().item<float>(), 1);
  const at::Tensor distance = RowNorm(threat.norm, result.images - batch.images).cpu();
  const at::Tensor told = result.min_norm.cpu();
  for (int64_t i = 0; i < batch.size(); ++i) {
    const double expected = told[i].item<double>();
    EXPECT_NEAR(distance[i].item<double>(), std::isinf(expected) ? 0 : expected, 1e-5) << i;
  }
}

TEST_P(Conformance, LeavesImagesAloneWhenEpsilonIsZero) {  // C01
  if (HasTrait(GetParam().attack, "no_ball")) GTEST_SKIP() << "has no epsilon";
  const ToyPointer model = testing::ToyMlp(kShape);
  const Batch batch = OnDevice(ToyBatch(*model, kSamples));
  ThreatModel threat = Threat(0.1);
  threat.epsilon = 0;
  const Outcome out = RunJudged(*Make(), *model, batch, threat);
  EXPECT_TRUE(out.result.images.equal(batch.images));
  EXPECT_EQ(std::count(out.broken.begin(), out.broken.end(), true), 0);
  EXPECT_EQ(out.result.counts.forwards.sum().item<int64_t>(), 0);
}

TEST_P(Conformance, StaysInBallAndBox) {  // C02
  const ToyPointer model = testing::ToyMlp(kShape);
  Batch batch = ToyBatch(*model, kSamples);
  batch.images = ((batch.images - 0.5) * 1.6 + 0.5).clamp(0, 1);  // pixels at 0 and 1 as well
  batch = OnDevice(batch);
  for (const double epsilon : {1.0 / 255, 0.1, 0.3, 1.0}) {
    const ThreatModel threat = Threat(epsilon);
    const Outcome out = RunJudged(*Make(), *model, batch, threat);
    ExpectReturned(out.result, batch, threat, *model);
    Victim victim(*model);
    const AttackResult crafted = Make()->Run(victim, batch, threat, {.stream = "0:test"}, {});
    ExpectReturned(crafted, batch, threat, *model);
  }
}

TEST_P(Conformance, KeepsTypeShapeAndInputs) {  // C03
  const ToyPointer model = testing::ToyMlp({3, 4, 4, 5});
  const Batch batch = OnDevice(ToyBatch(*model, kSamples));
  const at::Tensor before = batch.images.clone();
  const ThreatModel threat = Threat(0.1);
  const Outcome out = RunJudged(*Make(), *model, batch, threat);
  EXPECT_EQ(out.result.images.scalar_type(), at::kFloat);
  EXPECT_EQ(out.result.images.sizes(), batch.images.sizes());
  EXPECT_TRUE(batch.images.equal(before));
  const Batch last{batch.images.contiguous(at::MemoryFormat::ChannelsLast), batch.labels,
                   batch.ids};
  EXPECT_TRUE(RunJudged(*Make(), *model, last, threat).result.images.equal(out.result.images));
}

TEST_P(Conformance, RepeatsBitForBit) {  // C04
  const ToyPointer model = testing::ToyMlp(kShape);
  const Batch batch = OnDevice(ToyBatch(*model, kSamples));
  const Outcome first = RunJudged(*Make(), *model, batch, Threat(0.04));
  const Outcome second = RunJudged(*Make(), *model, batch, Threat(0.04));
  EXPECT_TRUE(first.result.images.equal(second.result.images));
  EXPECT_EQ(first.broken, second.broken);
  EXPECT_TRUE(first.result.counts.forwards.equal(second.result.counts.forwards));
  const auto random = Make({{"random_start", Flag(true)}});
  if (!Declares(GetParam().attack, "random_start")) return;
  EXPECT_FALSE(
      RunJudged(*random, *model, batch, Threat(0.04), {.seed = 1, .stream = "0:test"})
          .result.images.equal(RunJudged(*random, *model, batch, Threat(0.04)).result.images));
}

TEST_P(Conformance, DoesNotDependOnBatchOrOrder) {  // C05, C06
  const ToyPointer model = testing::ToyMlp(kShape);
  const Batch batch = OnDevice(ToyBatch(*model, kSamples));
  const Outcome whole = RunJudged(*Make(), *model, batch, Threat(0.05));
  const Outcome narrow = RunJudged(*Make(), *model, batch, Threat(0.05), {.stream = "0:test"}, 7);
  EXPECT_EQ(narrow.broken, whole.broken);
  if (GetParam().device == at::kCPU) {
    EXPECT_TRUE(narrow.result.images.equal(whole.result.images));
  }
  if (HasTrait(GetParam().attack, "universal")) return;  // made of all samples together
  for (const int64_t size : {1, 7}) {
    for (int64_t begin = kSamples - size; begin >= 0; begin -= size) {
      const Batch part{batch.images.narrow(0, begin, size), batch.labels.narrow(0, begin, size),
                       batch.ids.narrow(0, begin, size)};
      const Outcome out = RunJudged(*Make(), *model, part, Threat(0.05));
      EXPECT_TRUE(out.result.images.equal(whole.result.images.narrow(0, begin, size)))
          << size << " from " << begin;
    }
  }
}

TEST_P(Conformance, RestartsOnlyEverBreakMore) {  // C08, C09
  const ToyPointer model = testing::ToyMlp(kShape);
  const Batch batch = OnDevice(ToyBatch(*model, kSamples));
  const Values random = {{"random_start", Flag(true)}};
  const auto broken = [&](Values values) {
    values.insert(values.end(), random.begin(), random.end());
    return RunJudged(*Make(values), *model, batch, Threat(0.03)).broken;
  };
  const std::vector<bool> one = broken({{"restarts", Number(1)}});
  const std::vector<bool> three = broken({{"restarts", Number(3)}});
  for (size_t i = 0; i < one.size(); ++i) EXPECT_LE(one[i], three[i]);
  EXPECT_EQ(broken({{"restarts", Number(1)}, {"early_stop", Flag(false)}}), one);
}

TEST_P(Conformance, MoreStepsOfOneSizeOnlyEverBreakMore) {  // C08, C09
  if (!Declares(GetParam().attack, "step_size")) GTEST_SKIP() << "has no step_size";
  const ToyPointer model = testing::ToyMlp(kShape);
  const Batch batch = OnDevice(ToyBatch(*model, kSamples));
  const auto steps = [&](double count) {
    return RunJudged(*Make({{"steps", Number(count)}, {"step_size", Number(0.02)}}), *model, batch,
                     Threat(0.06))
        .broken;
  };
  const std::vector<bool> few = steps(3);
  const std::vector<bool> more = steps(6);
  for (size_t i = 0; i < few.size(); ++i) EXPECT_LE(few[i], more[i]);
}

TEST_P(Conformance, StopsBeforeTheNextCall) {  // C10
  const ToyPointer toy = testing::ToyMlp(kShape);
  testing::CountingModel model(*toy);
  const Batch batch = OnDevice(ToyBatch(*toy, kSamples));
  model.Train(true);
  {
    Victim victim(model, BatchNormMode::kEval, kComputeBatch);
    const RunControl control([&] { return model.calls >= 1; });
    EXPECT_THROW(Make()->Run(victim, batch, Threat(0.05), {.stream = "0:test"}, control), Stopped);
  }
  EXPECT_EQ(model.calls, 1);
  EXPECT_TRUE(model.training());
}

TEST_P(Conformance, HasNoSideEffectsEvenWhenTheModelFails) {  // C11
  for (const int64_t fail_at : {0, 3}) {
    const ToyPointer toy = testing::ToyBatchNorm(kShape);
    const Batch batch = OnDevice(ToyBatch(*toy, kSamples));
    testing::CountingModel model(*toy);
    model.fail_at = fail_at;
    model.Train(true);
    std::vector<at::Tensor> before;
    for (const auto& [name, tensor] : model.Parameters()) {
      tensor.set_requires_grad(true);
      before.push_back(tensor.detach().clone());
    }
    for (const auto& [name, tensor] : model.Buffers()) before.push_back(tensor.clone());
    const bool grad_mode = at::GradMode::is_enabled();
    const at::Tensor generator = at::detail::getDefaultCPUGenerator().get_state();
    try {
      RunJudged(*Make({{"restarts", Number(4)}}), model, batch, Threat(0.02));
    } catch (const std::runtime_error&) {
      EXPECT_EQ(fail_at, 3);
    }
    size_t i = 0;
    for (const auto& [name, tensor] : model.Parameters()) {
      EXPECT_TRUE(tensor.requires_grad());
      EXPECT_FALSE(tensor.grad().defined());
      EXPECT_TRUE(tensor.detach().equal(before[i++])) << name;
    }
    for (const auto& [name, tensor] : model.Buffers()) {
      EXPECT_TRUE(tensor.equal(before[i++])) << name;
    }
    EXPECT_TRUE(model.training());
    EXPECT_EQ(at::GradMode::is_enabled(), grad_mode);
    EXPECT_TRUE(at::detail::getDefaultCPUGenerator().get_state().equal(generator));
  }
}

TEST_P(Conformance, NeverWinsByNonFiniteLogits) {  // C12
  for (const bool infinite : {false, true}) {
    const ToyPointer model = infinite ? testing::ToyInf(kShape) : testing::ToyNan(kShape);
    Batch batch = ToyBatch(*testing::ToyLinear(kShape), 60);
    const at::Tensor fine = (batch.images.flatten(1).select(1, 0) < 0.59).nonzero().squeeze(1);
    batch = OnDevice({batch.images.index_select(0, fine), batch.labels.index_select(0, fine),
                      batch.ids.index_select(0, fine)});
    const Outcome out = RunJudged(*Make(), *model, batch, Threat(0.15));
    for (const Finding& finding : out.findings) {
      EXPECT_TRUE(finding.verification.decision.finite);
      EXPECT_LE(finding.image.flatten()[0].item<float>(), 0.6F);
    }
    EXPECT_TRUE(at::isfinite(out.result.images).all().item<bool>());
  }
}

TEST_P(Conformance, RunsForFewClasses) {  // C14
  for (const int64_t classes : {1, 2, 3}) {
    const ToyPointer model = testing::ToyLinear({1, 8, 8, classes});
    const Batch batch = OnDevice(ToyBatch(*model, 8));
    for (const char* loss : {"ce", "margin", "cw50", "dlr"}) {
      const auto attack = MakeOr({{"loss", Word(loss)}});
      if (!attack.ok()) {  // e.g. a loss without a targeted form
        EXPECT_EQ(attack.status().code(), absl::StatusCode::kInvalidArgument);
        continue;
      }
      const Outcome out = RunJudged(**attack, *model, batch, Threat(0.05));
      if (classes > 1) continue;
      EXPECT_EQ(out.result.counts.forwards.sum().item<int64_t>(), 0);
      EXPECT_EQ(std::count(out.broken.begin(), out.broken.end(), true), 0);
    }
  }
}

TEST_P(Conformance, EndsOnTiesAndConstants) {  // C15
  for (const bool tie : {false, true}) {
    const ToyPointer model = tie ? testing::ToyTie(kShape) : testing::ToyConst(kShape);
    Batch batch = OnDevice(ToyBatch(*model, 6));
    EXPECT_EQ(batch.labels.sum().item<int64_t>(), 0);  // the lowest index wins a tie
    const Outcome out = RunJudged(*Make(), *model, batch, Threat(0.1));
    EXPECT_EQ(std::count(out.broken.begin(), out.broken.end(), true), 0);
    if (HasTrait(GetParam().attack, "forward_only")) {
      EXPECT_EQ(out.result.counts.zero_grads.sum().item<int64_t>(), 0);
    } else if (!HasTrait(GetParam().attack, "looks_inside") &&
               (!tie || !HasTrait(GetParam().attack, "heuristic"))) {
      // A heuristic may follow the gradients of single logits, which a tie does not make 0; what
      // looks inside follows the features of constant logits.
      EXPECT_GT(out.result.counts.zero_grads.sum().item<int64_t>(), 0);
    }
    EXPECT_TRUE(at::isfinite(out.result.images).all().item<bool>());
  }
}

TEST_P(Conformance, ReachesTheClosedFormOfALinearModel) {  // C16, C17
  const Norm norm = GetParam().norm;
  if (norm == Norm::kL0 || HasTrait(GetParam().attack, "no_ball")) {
    GTEST_SKIP() << "no closed form";
  }
  for (const int64_t classes : {2, 5}) {
    const ModelShape shape{1, 8, 8, classes};
    const ToyPointer model = testing::ToyLinear(shape);
    Batch batch = ToyBatch(*model, 60);
    batch.images = batch.images * 0.2 + 0.4;  // the box stays out of reach
    batch = OnDevice(batch);
    batch.labels = Predictions(model->Logits(batch.images));
    const at::Tensor w = model->Parameters()[0].second.to(batch.images.device());
    const at::Tensor z = model->Logits(batch.images).to(at::kDouble);
    const at::Tensor own = w.index_select(0, batch.labels).unsqueeze(1) - w;
    const at::Tensor dual = norm == Norm::kLinf ? own.abs().sum(2)
                            : norm == Norm::kL2 ? own.square().sum(2).sqrt()
                                                : own.abs().amax(2);
    const at::Tensor gap = z.gather(1, batch.labels.unsqueeze(1)) - z;
    const at::Tensor distance =
        (gap / dual.clamp_min(1e-12)).scatter(1, batch.labels.unsqueeze(1), 1e9).amin(1);
    const double epsilon = distance.median().item<double>();
    ThreatModel threat{norm, epsilon};
    // fgsm in L1 spreads its step over many values; the L1 forms need not reach the far corner.
    const bool exact = classes == 2 && norm != Norm::kL1 &&
                       !HasTrait(GetParam().attack, "heuristic") &&
                       !HasTrait(GetParam().attack, "forward_only");
    const auto attack = Make({{"random_start", Flag(false)},
                              {"steps", Number(100)},
                              {"max_iterations", Number(200)},
                              {"binary_search_steps", Number(6)},
                              {"overshoot", Number(0.001)}});
    const Outcome out = RunJudged(*attack, *model, batch, threat);
    for (int64_t i = 0; i < batch.size(); ++i) {
      const double d = distance[i].item<double>();
      if (d > epsilon * 1.01) {
        EXPECT_FALSE(out.broken[i]) << "K " << classes << " sample " << i;
      } else if (exact && d < epsilon * 0.99) {
        EXPECT_TRUE(out.broken[i]) << "sample " << i;
      }
    }
  }
}

TEST_P(Conformance, RaisesTheTargetedLoss) {  // C18
  if (!Declares(GetParam().attack, "target")) GTEST_SKIP() << "has no target";
  const ToyPointer model = testing::ToyLinear(kShape);
  const Batch batch = OnDevice(ToyBatch(*model, kSamples));
  for (const char* target : {"least_likely", "next", "random_wrong", "rank:2"}) {
    const auto attack =
        Make({{"target", Word(target)}, {"loss", Word("ce")}, {"early_stop", Flag(false)}});
    const Outcome out = RunJudged(*attack, *model, batch, Threat(0.2));
    for (const Finding& finding : out.findings) EXPECT_GE(finding.target, 0) << target;
  }
  const at::Tensor next = (batch.labels + 1).remainder(5);
  Victim victim(*model);
  const AttackResult crafted = Make({{"target", Word("next")}, {"loss", Word("ce")}})
                                   ->Run(victim, batch, Threat(0.05), {.stream = "0:test"}, {});
  const LossFunction loss = MakeLoss("ce", true, Numerics::kReference);
  const Aims aims{batch.labels, next};
  const at::Tensor before = loss(model->Logits(batch.images), aims);
  const at::Tensor after = loss(model->Logits(crafted.images), aims);
  // Minimum-norm attacks return the clean image where they find nothing.
  const at::Tensor changed = crafted.min_norm.defined() ? at::isfinite(crafted.min_norm)
                                                        : at::ones_like(batch.labels, at::kBool);
  if (HasTrait(GetParam().attack, "no_ball")) {  // what replaces pixels may cost one sample some
    EXPECT_GT(after.mean().item<double>(), before.mean().item<double>());
    return;
  }
  EXPECT_TRUE((after > before).logical_or(changed.logical_not()).all().item<bool>());
}

// A judge that refuses everything.
class Refuser final : public Judge {
 public:
  at::Tensor Submit(const Claims& claims) override {
    refused += claims.rows.size(0);
    return at::zeros({claims.rows.size(0)}, at::kBool);
  }
  int64_t refused = 0;
};

TEST_P(Conformance, GoesOnAfterARejectedClaim) {  // C20
  const ToyPointer model = testing::ToyLinear(kShape);
  const Batch batch = OnDevice(ToyBatch(*model, kSamples));
  Refuser judge;
  Victim victim(*model);
  const auto attack = Make({{"random_start", Flag(false)}, {"abort_early", Flag(false)}});
  const AttackResult refused =
      attack->Run(victim, batch, Threat(0.3), {.stream = "0:test", .judge = &judge}, {});
  EXPECT_GT(judge.refused, 0);
  // As long as a sample that stays robust: every sample takes every step of every restart.
  const SampleCounts& counts = refused.counts;
  const at::Tensor forwards =
      counts.extra_forwards.defined() ? counts.forwards - counts.extra_forwards : counts.forwards;
  if (!HasTrait(GetParam().attack, "whole_set") && !HasTrait(GetParam().attack, "cohorts")) {
    EXPECT_EQ(forwards.min().item<int64_t>(), forwards.max().item<int64_t>());
  }
  EXPECT_GT(forwards.min().item<int64_t>(), 0);
}

TEST_P(Conformance, RunsForAnySize) {  // C22
  for (const ModelShape& shape : {ModelShape{1, 1, 1, 3}, ModelShape{2, 3, 5, 4},
                                  ModelShape{3, 5, 2, 3}, ModelShape{4, 2, 2, 2}}) {
    const ToyPointer model = testing::ToyLinear(shape);
    for (const int64_t count : {0, 1, 17}) {
      const Batch batch = OnDevice(ToyBatch(*model, count));
      const Outcome out = RunJudged(*Make(), *model, batch, {GetParam().norm, 1});
      EXPECT_EQ(out.result.images.sizes(), batch.images.sizes());
    }
  }
}

TEST_P(Conformance, RefusesParametersThatItDoesNotDeclare) {  // C23
  v1::PluginSpec spec;
  spec.set_name(GetParam().attack);
  (*spec.mutable_params()->mutable_fields())["no_such"].set_number_value(1);
  EXPECT_EQ(MakePlugin<Attack>(spec).status().code(), absl::StatusCode::kInvalidArgument);
  spec.clear_params();
  (*spec.mutable_params()->mutable_fields())["restarts"].set_number_value(std::nan(""));
  EXPECT_EQ(MakePlugin<Attack>(spec).status().code(), absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Cpu, Conformance, ::testing::ValuesIn(Cases(at::kCPU)), CaseName);
INSTANTIATE_TEST_SUITE_P(Cuda, Conformance, ::testing::ValuesIn(Cases(at::kCUDA)), CaseName);

}  // namespace
}  // namespace adamant
