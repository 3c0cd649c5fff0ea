// SPDX-License-Identifier: Apache-2.0
#include "core/run/inner_attack.h"

#include <chrono>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

absl::StatusOr<std::unique_ptr<InnerAttack>> InnerAttack::Make(const InnerAttackChoice& choice,
                                                               BatchNormMode mode, uint64_t seed) {
  InnerAttackChoice complete = choice;
  ASSIGN_OR_RETURN(complete.attack, NormalizePluginSpec(choice.attack, Registry<Attack>::Family()));
  const Declaration& declaration = Registry<Attack>::All().at(complete.attack.name()).declaration;
  if (!declaration.HasTrait("inner_ok")) {
    std::vector<std::string> usable;
    for (const auto& [name, entry] : Registry<Attack>::All()) {
      if (entry.declaration.HasTrait("inner_ok")) usable.push_back(name);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("attack: \"", declaration.name,
                     "\" cannot run inside training; usable: ", absl::StrJoin(usable, ", ")));
  }
  if (!declaration.SupportsNorm(NormName(choice.threat.norm))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "threat.norm: attack \"", declaration.name, "\" does not support ",
        NormName(choice.threat.norm), "; supported: ", absl::StrJoin(declaration.norms, ", ")));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Attack> attack, MakePlugin<Attack>(complete.attack));
  return std::unique_ptr<InnerAttack>(
      new InnerAttack(std::move(complete), std::move(attack), mode, seed));
}

at::Tensor InnerAttack::Craft(Model& model, const Batch& batch, double strength, int64_t epoch,
                              const CraftOptions& options, const RunControl& control) {
  const Clock::time_point start = Clock::now();
  ThreatModel threat = choice_.threat;
  threat.epsilon *= strength;
  AttackSettings settings;
  settings.seed = seed_;
  settings.stream = absl::StrCat("attack:", choice_.attack.name(), ":", epoch);
  settings.step_scale = strength;
  Victim victim(model, options.bn_mode.value_or(mode_));
  const AttackResult result = attack_->Run(victim, batch, threat, settings, control);
  forwards_ += victim.forwards();
  backwards_ += victim.backwards();
  seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
  return result.images.detach();
}

bool InnerAttack::ShortReach() const {
  const auto& params = choice_.attack.params().fields();
  const auto steps = params.find("steps");
  const auto step_size = params.find("step_size");
  if (steps == params.end() || step_size == params.end()) return false;
  const double size = step_size->second.number_value();
  // 1e-9: 7 steps of 0.3 / 7 reach 0.3.
  return size > 0 && steps->second.number_value() * size < choice_.threat.epsilon * (1 - 1e-9);
}

absl::StatusOr<ThreatModel> ToThreatModel(const v1::ThreatModel& threat, const ModelShape& shape) {
  ThreatModel out;
  const double values = static_cast<double>(shape.channels * shape.height * shape.width);
  double largest = 1;
  switch (threat.norm()) {
    case v1::L2:
      out.norm = Norm::kL2;
      largest = std::sqrt(values);
      break;
    case v1::L1:
      out.norm = Norm::kL1;
      largest = values;
      break;
    case v1::L0:
      out.norm = Norm::kL0;
      largest = static_cast<double>(shape.height * shape.width);
      break;
    default:
      out.norm = Norm::kLinf;
  }
  out.epsilon = threat.epsilon();
  out.clip_min = threat.clip_min();
  if (threat.has_clip_max()) out.clip_max = threat.clip_max();
  if (!(out.epsilon >= 0 && out.epsilon <= largest)) {
    return absl::InvalidArgumentError(
        absl::StrCat("threat.epsilon: ", out.epsilon, " is outside [0, ", largest, "] for ",
                     NormName(out.norm), "; epsilon counts pixels in [0,1]"));
  }
  if (!(out.clip_min >= 0 && out.clip_min < out.clip_max && out.clip_max <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("threat: clip range [", out.clip_min, ", ",
                                                   out.clip_max, "] is not inside [0, 1]"));
  }
  return out;
}

}  // namespace adamant
