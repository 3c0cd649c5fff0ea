// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/attacks/losses.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"
#include "core/run/validity/check.h"
#include "core/run/validity/gather.h"
#include "core/run/validity/measure.h"

namespace adamant::validity {
namespace {

double ParamOf(const v1::PluginSpec& spec, const std::string& name) {
  const auto found = spec.params().fields().find(name);
  return found == spec.params().fields().end() ? 0 : found->second.number_value();
}

v1::PluginSpec With(v1::PluginSpec spec, const std::string& name, double value) {
  (*spec.mutable_params()->mutable_fields())[name].set_number_value(value);
  return spec;
}

std::vector<int64_t> AllSurvivors(const EvaluationResult& result) {
  std::vector<int64_t> out;
  for (size_t p = 0; p < result.outcomes.size(); ++p) {
    if (result.outcomes[p].state() == v1::ROBUST) out.push_back(static_cast<int64_t>(p));
  }
  return out;
}

double MeanLoss(const EvaluationResult& result) {
  double sum = 0;
  int64_t count = 0;
  for (const v1::SampleOutcome& outcome : result.outcomes) {
    if (outcome.state() != v1::ROBUST) continue;
    sum -= outcome.final_margin();
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : 0;
}

int64_t CountRobust(const EvaluationResult& result) {
  return std::count_if(result.outcomes.begin(), result.outcomes.end(),
                       [](const auto& one) { return one.state() == v1::ROBUST; });
}

// Doubled steps on the survivors, three times at most; the loss is the margin of the returned
// images.
absl::StatusOr<std::vector<Doubling>> DoubleSteps(Probe& probe, const AttackInstance& main,
                                                  int64_t samples) {
  constexpr int kMostDoublings = 3;
  std::vector<int64_t> left = AllSurvivors(probe.input().result);
  auto steps = static_cast<int64_t>(ParamOf(main.spec, "steps"));
  if (steps <= 0) return Unmeasured(absl::StrCat("attack ", main.spec.name(), " has no steps"));
  std::vector<Doubling> out;
  if (left.empty()) return out;
  ASSIGN_OR_RETURN(EvaluationResult before,
                   probe.Evaluate(left, main.spec, main.given, main.stream));
  const auto points = [&](int64_t count) {
    return 100 * static_cast<double>(count) / static_cast<double>(samples);
  };
  for (int i = 0; i < kMostDoublings; ++i) {
    ASSIGN_OR_RETURN(
        EvaluationResult after,
        probe.Evaluate(left, With(main.spec, "steps", 2.0 * steps), main.given, main.stream));
    out.push_back({steps, points(CountRobust(before)), points(CountRobust(after)), MeanLoss(before),
                   MeanLoss(after)});
    if (out.back().robust_before - out.back().robust_after <= 0.5 &&
        out.back().loss_after - out.back().loss_before <= 0.01 * std::abs(out.back().loss_before)) {
      break;
    }
    steps *= 2;
    before = std::move(after);
  }
  return out;
}

absl::StatusOr<std::pair<double, double>> DoubleRestarts(Probe& probe, const AttackInstance& main,
                                                         int64_t samples) {
  const double restarts = ParamOf(main.spec, "restarts");
  if (restarts <= 0) {
    return Unmeasured(absl::StrCat("attack ", main.spec.name(), " has no restarts"));
  }
  const std::vector<int64_t> left = AllSurvivors(probe.input().result);
  const auto points = [&](int64_t count) {
    return 100 * static_cast<double>(count) / static_cast<double>(samples);
  };
  const double before = points(static_cast<int64_t>(left.size()));
  if (left.empty()) return std::pair{before, before};
  ASSIGN_OR_RETURN(
      const EvaluationResult after,
      probe.Evaluate(left, With(main.spec, "restarts", 2 * restarts), main.given, main.stream));
  return std::pair{before, points(CountRobust(after))};
}

// The main attack at a quarter to four times its epsilon on the probe set.
absl::StatusOr<std::vector<EpsilonPair>> CompareEpsilons(Probe& probe, const AttackInstance& main) {
  std::vector<EvaluationResult> results;
  std::vector<double> epsilons;
  for (const double factor : {0.25, 0.5, 1.0, 2.0, 4.0}) {
    v1::ThreatModel threat = main.given;
    threat.set_epsilon(main.threat.epsilon * factor);
    threat.clear_epsilon_text();
    if (main.threat.norm == Norm::kLinf && threat.epsilon() > 1) continue;
    ASSIGN_OR_RETURN(EvaluationResult result,
                     probe.Evaluate(probe.positions(), main.spec, threat, main.stream));
    results.push_back(std::move(result));
    epsilons.push_back(threat.epsilon());
  }
  std::vector<EpsilonPair> out;
  for (size_t i = 1; i < results.size(); ++i) {
    EpsilonPair pair{epsilons[i - 1], epsilons[i], 0, 0,
                     static_cast<int64_t>(probe.positions().size())};
    for (size_t p = 0; p < results[i].outcomes.size(); ++p) {
      const bool before = results[i - 1].outcomes[p].state() == v1::ROBUST;
      const bool after = results[i].outcomes[p].state() == v1::ROBUST;
      pair.recovered += after && !before;
      pair.lost += before && !after;
    }
    out.push_back(pair);
  }
  return out;
}

// Uniform points of the ball around a few survivors.
absl::StatusOr<NoiseSearch> SearchAtRandom(Probe& probe, const AttackInstance& main) {
  constexpr int64_t kDraws = 10'000;
  constexpr size_t kMostSurvivors = 64;
  if (main.threat.norm == Norm::kL0) return Unmeasured("no uniform draw from an L0 ball");
  std::vector<int64_t> positions = probe.Survivors();
  const auto broken = static_cast<int64_t>(probe.positions().size() - positions.size());
  positions.resize(std::min(positions.size(), kMostSurvivors));
  NoiseSearch out{0, static_cast<int64_t>(positions.size()), broken};
  if (positions.empty()) return out;
  v1::PluginSpec noise;
  noise.set_name("random_noise");
  ASSIGN_OR_RETURN(
      const EvaluationResult result,
      probe.Evaluate(positions, With(noise, "draws", kDraws), main.given, "validity:random_noise"));
  out.broken = out.survivors - CountRobust(result);
  return out;
}

// Mean of min(1, |L(x+n) - L(x)| / |L(x)|) over uniform noise of 4/255.
absl::StatusOr<double> LossNoise(Probe& probe, const std::string& loss_name) {
  constexpr int kDraws = 100;
  ASSIGN_OR_RETURN(const Batch batch, probe.Read(probe.positions()));
  const LossFunction loss =
      MakeLoss(loss_name.empty() ? "margin" : loss_name, false, Numerics::kStrong);
  const Aims aims{batch.labels.to(at::kCPU)};
  const FeasibleSet set(batch.images, {.norm = Norm::kLinf, .epsilon = 4.0 / 255});
  const at::Tensor base = loss(probe.Logits(batch.images), aims).to(at::kDouble);
  double sum = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    const at::Tensor points =
        RandomStart(set, batch.ids, probe.input().options.seed, "validity:loss_noise",
                    {.step = static_cast<uint32_t>(draw), .purpose = Purpose::kNoise});
    const at::Tensor now = loss(probe.Logits(points), aims).to(at::kDouble);
    sum += ((now - base).abs() / base.abs().clamp_min(1e-12)).clamp_max(1).mean().item<double>();
  }
  return sum / kDraws;
}

// Every attack of the threat model of attack `index`, or of the first one with a ball.
absl::StatusOr<std::vector<std::string>> TestAttacks(Probe& probe, const ValidityFacts& facts,
                                                     int index) {
  std::vector<AttackInstance> attacks;
  bool gradient_free = false;
  for (size_t i = 0; i < facts.attacks.size(); ++i) {
    const AttackFacts& attack = facts.attacks[i];
    if (attack.own_budget || attack.transfer) continue;
    if (index < 0) index = static_cast<int>(i);
    if (!SameThreat(attack, facts.attacks[index])) continue;
    attacks.push_back(probe.input().instances[i]);
    gradient_free = gradient_free || attack.forward_only;
  }
  if (attacks.empty()) return Unmeasured("no attack with a ball ran");
  return SelfTest(probe, attacks, gradient_free);
}

// Where Square reduced robust accuracy: longer searches on what is left, and the points they leave.
std::vector<std::pair<std::string, double>> FollowUpOnSquare(Probe& probe,
                                                             const ValidityFacts& facts) {
  std::vector<std::pair<std::string, double>> out;
  const std::vector<AttackInstance>& instances = probe.input().instances;
  const auto square =
      std::find_if(instances.begin(), instances.end(),
                   [](const AttackInstance& one) { return one.spec.name() == "square"; });
  if (square == instances.end() || SquareHelps(facts).status != v1::ValidityCheck::FAIL) return out;
  const std::vector<int64_t> left = AllSurvivors(probe.input().result);
  v1::PluginSpec longer = With(square->spec, "queries", 5 * ParamOf(square->spec, "queries"));
  v1::PluginSpec spsa;
  spsa.set_name("spsa");
  for (const v1::PluginSpec& attack : {With(longer, "restarts", 3), With(spsa, "steps", 100)}) {
    double robust = 0;
    if (!left.empty()) {
      const auto result =
          probe.Evaluate(left, attack, square->given, absl::StrCat("validity:", attack.name()));
      if (!result.ok()) continue;  // e.g. a norm that spsa does not support
      robust = 100 * static_cast<double>(CountRobust(*result)) / static_cast<double>(facts.samples);
    }
    out.emplace_back(attack.name() == "square" ? "a longer Square" : attack.name(), robust);
  }
  return out;
}

}  // namespace

void MeasureFull(Probe& probe, ValidityFacts& facts) {
  const int index = StrongestIterative(facts);
  facts.self_test = TestAttacks(probe, facts, index);
  facts.follow_up = FollowUpOnSquare(probe, facts);
  if (index < 0 || probe.positions().empty()) {
    const absl::Status why = Unmeasured(index < 0 ? "no iterative gradient attack ran"
                                                  : "no sample is correct on clean input");
    facts.doublings = why;
    facts.restarts = why;
    facts.epsilons = why;
    facts.random_search = why;
    facts.loss_noise = why;
    facts.binarized = why;
    return;
  }
  const AttackInstance& main = probe.input().instances[index];
  facts.doublings = DoubleSteps(probe, main, facts.samples);
  facts.restarts = DoubleRestarts(probe, main, facts.samples);
  facts.epsilons = CompareEpsilons(probe, main);
  facts.random_search = SearchAtRandom(probe, main);
  const bool targeted = !facts.attacks[index].untargeted;
  facts.loss_noise = LossNoise(probe, targeted ? "" : facts.attacks[index].loss);
  facts.binarized = Binarize(probe, main);
}

}  // namespace adamant::validity
