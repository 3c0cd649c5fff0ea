// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "core/attacks/loss_record.h"
#include "core/base/torch.h"
#include "core/run/validity/gather.h"
#include "core/run/validity/measure.h"

namespace adamant::validity {
namespace {

constexpr size_t kFewSamples = 64;
constexpr size_t kMostAgain = 256;  // samples that the iterative attack gets again

// Verifies claims and keeps the losses.
class RecordingJudge final : public Judge, public LossRecord {
 public:
  RecordingJudge(FixedCaller& caller, const Batch& clean, const ThreatModel& threat)
      : verifying_(caller, clean, threat) {}

  at::Tensor Submit(const Claims& claims) override { return verifying_.Submit(claims); }
  bool Broken(int64_t row) const { return verifying_.finding(row).has_value(); }

 private:
  VerifyingJudge verifying_;
};

int64_t CountState(const EvaluationResult& result, v1::SampleState state) {
  return std::count_if(result.outcomes.begin(), result.outcomes.end(),
                       [&](const v1::SampleOutcome& one) { return one.state() == state; });
}

v1::PluginSpec Named(const std::string& name) {
  v1::PluginSpec spec;
  spec.set_name(name);
  return spec;
}

// Samples that are correct, and broken by `winner` (-1: any) but not by `loser`.
std::vector<int64_t> Select(const EvaluationResult& result, int winner, int loser) {
  std::vector<int64_t> out;
  for (size_t p = 0; p < result.outcomes.size(); ++p) {
    if (!IsCorrect(result.outcomes[p])) continue;
    if (winner >= 0 && result.instance_of[p] != winner) continue;
    if (loser >= 0 && result.instances[loser].broken_at[p]) continue;
    out.push_back(static_cast<int64_t>(p));
  }
  return out;
}

int OneStepInstance(const ValidityFacts& facts, const AttackFacts& main) {
  for (int i = 0; i < static_cast<int>(facts.attacks.size()); ++i) {
    if (facts.attacks[i].name == "fgsm" && SameThreat(facts.attacks[i], main)) return i;
  }
  return -1;
}

// fgsm ran before in a cascade: the iterative attack gets what fgsm took from it.
absl::StatusOr<OneStepComparison> CompareAgain(Probe& probe, const AttackInstance& main,
                                               int one_step, OneStepComparison out) {
  std::vector<int64_t> taken = Select(probe.input().result, one_step, -1);
  const auto all = static_cast<int64_t>(taken.size());
  taken.resize(std::min(taken.size(), kMostAgain));
  if (taken.empty()) return out;
  ASSIGN_OR_RETURN(const EvaluationResult again,
                   probe.Evaluate(taken, main.spec, main.given, main.stream));
  out.only_one_step = CountState(again, v1::ROBUST) * all / static_cast<int64_t>(taken.size());
  return out;
}

absl::StatusOr<OneStepComparison> CompareOneStep(Probe& probe, const ValidityFacts& facts) {
  const ValidityInput& input = probe.input();
  const int main = StrongestIterative(facts);
  if (main < 0) return Unmeasured("no iterative gradient attack ran");
  const AttackFacts& strongest = facts.attacks[main];
  if (strongest.own_budget || strongest.norm == v1::L0) {
    return Unmeasured("fgsm does not support the norm of the iterative attack");
  }
  OneStepComparison out{0, strongest.robust, 0, facts.samples};
  const int one_step = OneStepInstance(facts, strongest);
  const bool cascade = !input.spec.has_cascade() || input.spec.cascade();
  if (one_step >= 0 && cascade && one_step < main) {
    return CompareAgain(probe, input.instances[main], one_step, out);
  }
  if (one_step >= 0) {
    int64_t count = 0;
    for (const int64_t p : Select(input.result, -1, main)) {
      count += input.result.instances[one_step].broken_at[p] &&
               (!cascade || input.result.instance_of[p] == one_step);
    }
    out.only_one_step = count;
    return out;
  }
  const std::vector<int64_t> left = Select(input.result, -1, main);
  if (left.empty()) return out;
  ASSIGN_OR_RETURN(
      const EvaluationResult result,
      probe.Evaluate(left, Named("fgsm"), input.instances[main].given, "validity:fgsm"));
  out.only_one_step = CountState(result, v1::BROKEN);
  return out;
}

absl::StatusOr<Share> LeftUnbounded(Probe& probe) {
  std::vector<int64_t> positions = probe.positions();
  if (positions.empty()) return Unmeasured("no sample is correct on clean input");
  if (probe.input().spec.depth() != "full") {
    positions.resize(std::min(positions.size(), kFewSamples));
  }
  v1::PluginSpec attack = Named("pgd");
  auto& params = *attack.mutable_params()->mutable_fields();
  params["steps"].set_number_value(100);
  params["step_size"].set_number_value(0.02);
  params["loss"].set_string_value("margin");
  // A random start of this size would be noise: an error there says nothing about gradients.
  params["random_start"].set_bool_value(false);
  v1::ThreatModel threat;
  threat.set_norm(v1::LINF);
  threat.set_epsilon(1);
  ASSIGN_OR_RETURN(const EvaluationResult result,
                   probe.Evaluate(positions, attack, threat, "validity:pgd"));
  return Share{CountState(result, v1::ROBUST), static_cast<int64_t>(positions.size())};
}

// The attack whose losses are worth a look: an untargeted one, which costs one run per sample,
// before a targeted one, then the strongest; -1 for none.
int RecordingAttack(const ValidityFacts& facts) {
  int best = -1;
  for (int i = 0; i < static_cast<int>(facts.attacks.size()); ++i) {
    const AttackFacts& attack = facts.attacks[i];
    if (!attack.records_losses) continue;
    if (best < 0 || std::pair(!attack.untargeted, attack.robust) <
                        std::pair(!facts.attacks[best].untargeted, facts.attacks[best].robust)) {
      best = i;
    }
  }
  return best;
}

// An iterative attack again on the first survivors of the probe set.
absl::StatusOr<std::vector<std::vector<double>>> RecordCurves(Probe& probe,
                                                              const ValidityFacts& facts) {
  const ValidityInput& input = probe.input();
  const int main = RecordingAttack(facts);
  if (main < 0) return Unmeasured("no attack that ran records its losses");
  std::vector<int64_t> positions = probe.Survivors();
  positions.resize(std::min(positions.size(), kFewSamples));
  if (positions.empty()) return std::vector<std::vector<double>>{};
  const AttackInstance& instance = input.instances[main];
  ASSIGN_OR_RETURN(const Batch clean, input.samples.read(positions));
  ASSIGN_OR_RETURN(const Batch batch, probe.Read(positions));
  RecordingJudge judge(probe.caller(), clean, instance.threat);
  Victim victim(input.model, BatchNormMode::kEval, input.result.compute_batch);
  AttackSettings settings;
  settings.seed = input.options.seed;
  settings.stream = instance.stream;
  settings.judge = &judge;
  instance.attack->Run(victim, batch, instance.threat, settings, input.control);
  probe.Count(victim.forwards(), victim.backwards());
  std::vector<std::vector<double>> curves;
  for (size_t row = 0; row < judge.curves().size(); ++row) {
    if (!judge.curves()[row].empty() && !judge.Broken(static_cast<int64_t>(row))) {
      curves.push_back(judge.curves()[row]);
    }
  }
  if (curves.empty()) {
    return Unmeasured(absl::StrCat("attack ", instance.spec.name(), " does not record its losses"));
  }
  return curves;
}

}  // namespace

void MeasureSearch(Probe& probe, ValidityFacts& facts) {
  facts.one_step = CompareOneStep(probe, facts);
  facts.unbounded = LeftUnbounded(probe);
  facts.loss_curves = RecordCurves(probe, facts);
}

}  // namespace adamant::validity
