// SPDX-License-Identifier: Apache-2.0
// The Attack contract: (victim, images, labels, threat model) -> perturbed images.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/attacks/victim.h"
#include "core/base/registry.h"
#include "core/base/run_control.h"
#include "core/data/dataset.h"

namespace adamant {

enum class Norm { kLinf, kL2, kL1, kL0 };

// "linf", "l2", "l1", "l0": how plug-in declarations name norms.
std::string NormName(Norm norm);

// The feasible set {v : ||v - x||_norm <= epsilon} and [clip_min, clip_max], pixel units of [0,1].
struct ThreatModel {
  Norm norm = Norm::kLinf;
  double epsilon = 0;
  double clip_min = 0;
  double clip_max = 1;
};

// Images that an attack believes to be adversarial.
struct Claims {
  at::Tensor rows;    // int64 [M]: positions within the batch that Run received
  at::Tensor images;  // [M,C,H,W]
  int64_t step = 0;   // iterate
  int64_t restart = 0;
  at::Tensor targets;  // int64 [M]; undefined: untargeted
};

// Where claims go in an evaluation: verified apart from the attack, and final when accepted.
class Judge {
 public:
  virtual ~Judge() = default;
  // bool [M]: accepted. An accepted row must not be claimed again; a rejected one goes on with its
  // next step as if it had not been claimed.
  virtual at::Tensor Submit(const Claims& claims) = 0;
};

// How an attack is run, beside its own parameters.
struct AttackSettings {
  uint64_t seed = 0;
  std::string stream;  // names the random streams, e.g. "0:pgd" or "attack:pgd:3"
  // Evaluation: samples whose claim the judge accepts leave the running batch. Null: craft mode, a
  // fixed number of steps without early stop, the last iterate is returned.
  Judge* judge = nullptr;
  // Minimum-norm attacks go on after a claim was accepted, to their own end.
  bool nearest = false;
  // Multiplies an explicit step size (epsilon warm-up in training). Step rules follow
  // threat.epsilon by themselves.
  double step_scale = 1;
  at::Tensor clean_logits = {};  // [N,K]; undefined: computed when a target needs them
  at::Tensor targets = {};       // int64 [N], for target = given
  at::Tensor start = {};         // [N,C,H,W] instead of the attack's own start; projected first
};

// What one attack did to each sample, int64 [N] each.
struct SampleCounts {
  at::Tensor steps;
  at::Tensor forwards;  // rows of this sample, without padding and verification
  at::Tensor backwards;
  at::Tensor zero_grads;
  at::Tensor nonfinite_grads;
  at::Tensor nonfinite_logits;
  at::Tensor extra_forwards = {};  // fab; undefined: none
  at::Tensor empty_maps = {};      // a3: the clean map is 0 everywhere; undefined: has no map
};

struct AttackResult {
  // Like the input, inside the feasible set. Craft mode: the iterate that `keep` chooses.
  // Evaluation: the accepted image, else the iterate of highest loss.
  at::Tensor images;
  SampleCounts counts;
  // Minimum-norm attacks: double [N], the distance of `images`, +inf where nothing was found (the
  // image is then the clean one). Undefined: not a minimum-norm attack.
  at::Tensor min_norm = {};
};

// Created per job, immutable, single-threaded use. A factory throws std::invalid_argument when
// parameters contradict each other.
class Attack {
 public:
  static constexpr char kFamily[] = "attack";
  using Factory = std::unique_ptr<Attack>(const Params&);

  virtual ~Attack() = default;
  // batch: images [N,C,H,W] in [0,1], labels [N], ids [N] (sample identity: keys the random
  // numbers). The norm must be one of the declared ones.
  virtual AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                           const AttackSettings& settings, const RunControl& control) const = 0;

  // FAILED_PRECONDITION when the model lacks what the attack works on, e.g. a layer with maps. Run
  // throws std::invalid_argument for such a model.
  virtual absl::Status CheckModel(const Model& /*model*/) const { return absl::OkStatus(); }

  // What the attack does differently for a model of `num_classes`, e.g. loss substitutions.
  virtual std::vector<std::string> Notes(int64_t num_classes) const {
    static_cast<void>(num_classes);
    return {};
  }
};

}  // namespace adamant
