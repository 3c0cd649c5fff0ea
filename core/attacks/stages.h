// SPDX-License-Identifier: Apache-2.0
// What composite attacks share: stages that run one after another on the samples that are left.
#pragma once

#include <string>
#include <vector>

#include "core/attacks/attack.h"

namespace adamant {

// The random stream of stage `stage`: "0:autoattack" -> "0.1:apgd_t". Other streams take the number
// and the name behind them: "attack:autoattack:3" -> "attack:autoattack:3.1:apgd_t".
std::string StageStream(const std::string& stream, int stage, const std::string& name);

// An attack that is a list of others. An evaluation runs the stages as instances of its own; Run
// does the same by itself.
class CompositeAttack : public Attack {
 public:
  // What it consists of under this norm.
  virtual std::vector<v1::PluginSpec> Stages(Norm norm) const = 0;

  // Counts are sums over the stages. Throws std::invalid_argument for a stage that does not exist
  // or does not support the norm.
  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const final;
};

}  // namespace adamant
