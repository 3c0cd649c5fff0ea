// SPDX-License-Identifier: Apache-2.0
// The Attack contract: (victim, images, labels, threat model) -> perturbed images.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "core/attacks/victim.h"
#include "core/base/registry.h"
#include "core/base/run_control.h"
#include "core/data/dataset.h"

namespace adamant {

enum class Norm { kLinf, kL2, kL1, kL0 };

// The feasible set {v : ||v - x||_norm <= epsilon} and [clip_min, clip_max], pixel units of [0,1].
struct ThreatModel {
  Norm norm = Norm::kLinf;
  double epsilon = 0;
  double clip_min = 0;
  double clip_max = 1;
};

// Where claims go in an evaluation: verified apart from the attack, and final when accepted.
class Judge;

// How an attack is run, beside its own parameters.
struct AttackSettings {
  uint64_t seed = 0;
  std::string stream;  // names the random streams, e.g. "0:pgd" or "attack:pgd:3"
  // Evaluation: samples whose claim the judge accepts leave the running batch. Null: craft mode, a
  // fixed number of steps without early stop, the last iterate is returned.
  Judge* judge = nullptr;
  double step_scale = 1;  // multiplies the step size (epsilon warm-up in training)
};

struct AttackResult {
  at::Tensor images;  // like the input, inside the feasible set
};

// Created per job, immutable, single-threaded use.
class Attack {
 public:
  static constexpr char kFamily[] = "attack";
  using Factory = std::unique_ptr<Attack>(const Params&);

  virtual ~Attack() = default;
  // batch: images [N,C,H,W] in [0,1], labels [N], ids [N] (sample identity: keys the random
  // numbers).
  virtual AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                           const AttackSettings& settings, const RunControl& control) const = 0;
};

}  // namespace adamant
