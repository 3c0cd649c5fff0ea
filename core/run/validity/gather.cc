// SPDX-License-Identifier: Apache-2.0
#include "core/run/validity/gather.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/attacks/steps.h"
#include "core/models/prototypes.h"

namespace adamant::validity {
namespace {

using Names = std::set<std::string>;

const google::protobuf::Value* Find(const v1::PluginSpec& spec, const std::string& name) {
  const auto found = spec.params().fields().find(name);
  return found == spec.params().fields().end() ? nullptr : &found->second;
}

double Number(const v1::PluginSpec& spec, const std::string& name, double otherwise) {
  const google::protobuf::Value* value = Find(spec, name);
  return value == nullptr ? otherwise : value->number_value();
}

std::string Word(const v1::PluginSpec& spec, const std::string& name) {
  const google::protobuf::Value* value = Find(spec, name);
  return value == nullptr ? "" : value->string_value();
}

std::string Schedule(const v1::PluginSpec& spec) {
  std::map<std::string, std::string> sorted;
  for (const auto& [name, value] : spec.params().fields()) {
    if (name != "loss") sorted[name] = value.ShortDebugString();
  }
  std::string out;
  for (const auto& [name, value] : sorted) absl::StrAppend(&out, name, "=", value, ";");
  return out;
}

void SetKind(const v1::PluginSpec& spec, AttackFacts& out) {
  static const Names kOneStep = {"fgsm", "r_fgsm", "step_ll", "transfer"};
  static const Names kTargeted = {"apgd_t", "multi_targeted", "fab_t", "portfolio"};
  static const Names kAdaptive = {"adaptive_pc", "adaptive_map", "eot_pgd"};
  static const Names kOwnLogitLoss = {"apgd_t",     "apgd_dlr", "fab",           "fab_t",
                                      "square",     "cw_l2",    "leaky_pgd",     "portfolio",
                                      "pgd_margin", "deepfool", "vertex_search", "multi_targeted"};
  static const Names kGradientFree = {"square",       "nes",      "spsa",      "zoo",
                                      "random_noise", "boundary", "pointwise", "hopskipjump",
                                      "one_pixel",    "sparse_rs"};
  static const Names kOtherSearch = {"fab",         "fab_t",     "deepfool",     "cw_l2",
                                     "ddn",         "fmn",       "ead",          "jsma",
                                     "newton_fool", "portfolio", "vertex_search"};
  const auto& all = Registry<Attack>::All();
  const auto declared = all.find(spec.name());
  const auto has_trait = [&](const char* trait) {
    return declared != all.end() && declared->second.declaration.HasTrait(trait);
  };
  out.transfer = spec.name() == "transfer";
  out.forward_only = has_trait("forward_only") || kGradientFree.contains(spec.name());
  out.gradient = !out.forward_only && !out.transfer && !out.own_budget;
  const std::string base = Word(spec, "base");  // of an attack that changes another one's loss
  out.one_step = kOneStep.contains(spec.name()) || kOneStep.contains(base);
  out.targeted = kTargeted.contains(spec.name());
  const std::string target = Word(spec, "target");
  out.untargeted =
      spec.name() == "portfolio" ||
      (!out.targeted && (target.empty() || target == "none") && !base.ends_with("step_ll"));
  out.adaptive = kAdaptive.contains(spec.name());
  out.loss = Word(spec, "loss");
  out.needs_logits = kOwnLogitLoss.contains(spec.name()) || (!out.loss.empty() && out.loss != "ce");
  out.claims_unseen = out.one_step;
  out.records_losses = out.gradient && !out.one_step && !kOtherSearch.contains(spec.name());
}

void SetSchedule(const AttackInstance& instance, AttackFacts& out) {
  const v1::PluginSpec& spec = instance.spec;
  out.schedule = Schedule(spec);
  out.restarts = static_cast<int64_t>(Number(spec, "restarts", 1));
  if (Find(spec, "steps") == nullptr || Find(spec, "step_rule") == nullptr ||
      instance.threat.norm == Norm::kL0) {
    return;
  }
  out.steps = static_cast<int64_t>(Number(spec, "steps", 0));
  const StepRule rule{Word(spec, "step_rule"), Number(spec, "step_size", 0),
                      Number(spec, "step_frac", 0.1)};
  out.step_size = StepSize(rule, instance.threat, out.steps, 1);
}

int64_t CountRobust(const EvaluationResult& result, const InstanceOutcome& instance) {
  int64_t count = 0;
  for (size_t p = 0; p < result.outcomes.size(); ++p) {
    count += IsCorrect(result.outcomes[p]) && !instance.broken_at[p];
  }
  return count;
}

AttackFacts MakeAttackFacts(const ValidityInput& input, const v1::AttackReport& report, int index) {
  const AttackInstance& instance = input.instances[index];
  const EvaluationResult& result = input.result;
  AttackFacts out;
  out.name = instance.spec.name();
  out.label = instance.name;
  out.norm = instance.given.norm();
  out.epsilon = instance.threat.epsilon;
  out.own_budget = instance.no_ball || instance.given.norm() == v1::NORM_UNSPECIFIED;
  SetKind(instance.spec, out);
  out.claims_unseen = out.claims_unseen || input.options.search_model != nullptr;
  SetSchedule(instance, out);
  out.robust = 100 * static_cast<double>(CountRobust(result, result.instances[index])) /
               static_cast<double>(std::max<size_t>(1, result.outcomes.size()));
  out.rejected = result.instances[index].rejected_claims;
  out.broken = std::count(result.instance_of.begin(), result.instance_of.end(), index);
  if (index < report.attacks_size()) {
    const v1::AttackBlock& block = report.attacks(index);
    out.accuracy_by_step = {block.accuracy_by_step().begin(), block.accuracy_by_step().end()};
    out.notes = {block.notes().begin(), block.notes().end()};
  }
  return out;
}

bool Cascades(const ValidityInput& input) {
  return !input.spec.has_cascade() || input.spec.cascade();
}

// Samples that one of `winners` broke and none of `losers`.
template <class Winner, class Loser>
int64_t CountOnly(const ValidityInput& input, const ValidityFacts& facts, Winner winner,
                  Loser loser) {
  int64_t count = 0;
  for (size_t p = 0; p < input.result.outcomes.size(); ++p) {
    bool won = false;
    bool lost = false;
    for (size_t i = 0; i < facts.attacks.size(); ++i) {
      const bool broken = input.result.instances[i].broken_at[p];
      won |= broken && winner(i);
      lost |= broken && loser(i);
    }
    count += IsCorrect(input.result.outcomes[p]) && won && !lost;
  }
  return count;
}

Measured<Share> OnlyBlackBox(const ValidityInput& input, const ValidityFacts& facts) {
  const int main = StrongestIterative(facts);
  if (main < 0) return Unmeasured("no iterative gradient attack ran");
  const auto comparable = [&](size_t i) {
    return SameThreat(facts.attacks[i], facts.attacks[main]);
  };
  const auto black = [&](size_t i) {
    return comparable(i) && (facts.attacks[i].forward_only || facts.attacks[i].transfer);
  };
  const auto white = [&](size_t i) { return comparable(i) && facts.attacks[i].gradient; };
  bool any = false;
  for (size_t i = 0; i < facts.attacks.size(); ++i) {
    if (white(i) && any && Cascades(input)) {
      return Unmeasured("a gradient attack saw only what a black-box attack left: put it first");
    }
    any |= black(i);
  }
  if (!any) return Unmeasured("no black-box or transfer attack ran");
  return Share{CountOnly(input, facts, black, white), facts.samples};
}

Measured<double> SquareDrop(const ValidityInput& input, const ValidityFacts& facts) {
  double drop = 0;
  bool ran = false;
  for (size_t s = 0; s < facts.attacks.size(); ++s) {
    if (facts.attacks[s].name != "square") continue;
    const auto before = [&](size_t i) {
      return i < s && SameThreat(facts.attacks[i], facts.attacks[s]);
    };
    bool compared = false;
    for (size_t i = 0; i < s; ++i) compared |= before(i);
    if (!compared) continue;
    ran = true;
    const int64_t count = CountOnly(input, facts, [&](size_t i) { return i == s; }, before);
    drop = std::max(drop, 100 * static_cast<double>(count) / static_cast<double>(facts.samples));
  }
  if (!ran) return Unmeasured("Square did not run after another attack");
  return drop;
}

Measured<Share> SilentSuccesses(const ValidityInput& input, const ValidityFacts& facts) {
  for (const AttackFacts& attack : facts.attacks) {
    if (attack.own_budget) return Unmeasured("an attack outside of the threat model ran");
  }
  Share out{0, facts.samples};
  for (const v1::SampleOutcome& outcome : input.result.outcomes) {
    out.count += outcome.state() == v1::ROBUST && outcome.claims() > outcome.rejected_claims();
  }
  return out;
}

bool IsMargin(const AttackFacts& attack) {
  return attack.loss == "margin" || attack.loss == "cw50";
}

Measured<std::vector<LossPair>> LossPairs(const ValidityInput& input, const ValidityFacts& facts) {
  if (Cascades(input)) return Unmeasured("needs every attack alone: cascade = false");
  std::vector<LossPair> out;
  for (const AttackFacts& ce : facts.attacks) {
    if (ce.name != "pgd" || ce.loss != "ce") continue;
    for (const AttackFacts& other : facts.attacks) {
      if ((other.name == "pgd" || other.name == "pgd_margin") && IsMargin(other) &&
          SameThreat(ce, other) && ce.schedule == other.schedule) {
        out.push_back({ce.loss, other.loss, ce.robust, other.robust});
      }
    }
  }
  return out;
}

}  // namespace

bool IsCorrect(const v1::SampleOutcome& outcome) {
  return outcome.state() == v1::ROBUST || outcome.state() == v1::BROKEN;
}

bool SameThreat(const AttackFacts& a, const AttackFacts& b) {
  return !a.own_budget && !b.own_budget && a.norm == b.norm && a.epsilon == b.epsilon;
}

int StrongestIterative(const ValidityFacts& facts) {
  int best = -1;
  for (int i = 0; i < static_cast<int>(facts.attacks.size()); ++i) {
    const AttackFacts& attack = facts.attacks[i];
    if (!attack.gradient || attack.one_step) continue;
    if (best < 0 || attack.robust < facts.attacks[best].robust) best = i;
  }
  return best;
}

ValidityFacts GatherFacts(const ValidityInput& input, const v1::AttackReport& report) {
  ValidityFacts facts;
  facts.samples = static_cast<int64_t>(input.result.outcomes.size());
  facts.clean = report.clean_accuracy();
  facts.robust = report.robust_accuracy();
  facts.errors = report.error_count();
  facts.num_classes = input.model.info().shape.num_classes;
  facts.craft = input.spec.mode() == v1::CRAFT;
  if (PrototypesOf(input.model).ok()) facts.declared_defence = "prototypes";
  if (input.spec.has_declared_clean_accuracy()) {
    facts.declared_clean = input.spec.declared_clean_accuracy();
  }
  if (input.spec.has_declared_certified_accuracy()) {
    facts.declared_certified = input.spec.declared_certified_accuracy();
  }
  std::set<int32_t> labels;
  for (const v1::SampleOutcome& outcome : input.result.outcomes) {
    labels.insert(outcome.label());
    facts.fragile += outcome.fragile();
    facts.broken += outcome.state() == v1::BROKEN;
    facts.broken_8bit += outcome.state() == v1::BROKEN && outcome.broken_8bit();
  }
  facts.label_classes = static_cast<int64_t>(labels.size());
  for (int i = 0; i < static_cast<int>(input.instances.size()); ++i) {
    facts.attacks.push_back(MakeAttackFacts(input, report, i));
    facts.nonfinite_grads += input.result.instances[i].nonfinite_grads;
    facts.nonfinite_logits += input.result.instances[i].nonfinite_logits;
  }
  facts.only_black_box = OnlyBlackBox(input, facts);
  facts.square_drop = SquareDrop(input, facts);
  facts.silent = SilentSuccesses(input, facts);
  facts.losses = LossPairs(input, facts);
  return facts;
}

}  // namespace adamant::validity
