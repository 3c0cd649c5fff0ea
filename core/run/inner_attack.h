// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "adamant/v1/attack.pb.h"
#include "core/attacks/attack.h"
#include "core/objectives/objective.h"

namespace adamant {

// The attack inside training, and what it has cost so far. Not thread-safe; one per run.
class InnerAttack {
 public:
  // INVALID_ARGUMENT when the attack is unknown, has a bad parameter, may not serve inside training
  // (trait inner_ok), or does not support the norm.
  static absl::StatusOr<std::unique_ptr<InnerAttack>> Make(const InnerAttackChoice& choice,
                                                           BatchNormMode mode, uint64_t seed);

  // Adversarials for `batch`, detached. `strength` in [0,1] scales epsilon and the step size. The
  // draws of a sample are fixed by (seed, epoch, sample id): stream `attack:<name>:<epoch>`.
  at::Tensor Craft(Model& model, const Batch& batch, double strength, int64_t epoch,
                   const CraftOptions& options, const RunControl& control);

  const ThreatModel& threat() const { return choice_.threat; }
  const v1::PluginSpec& spec() const { return choice_.attack; }  // complete
  // Whether steps * step_size < epsilon, for attacks that have both parameters set.
  bool ShortReach() const;

  int64_t forwards() const { return forwards_; }    // rows
  int64_t backwards() const { return backwards_; }  // rows
  double seconds() const { return seconds_; }

 private:
  InnerAttack(InnerAttackChoice choice, std::unique_ptr<Attack> attack, BatchNormMode mode,
              uint64_t seed)
      : choice_(std::move(choice)), attack_(std::move(attack)), mode_(mode), seed_(seed) {}

  const InnerAttackChoice choice_;
  const std::unique_ptr<Attack> attack_;
  const BatchNormMode mode_;
  const uint64_t seed_;
  int64_t forwards_ = 0;
  int64_t backwards_ = 0;
  double seconds_ = 0;
};

// ThreatModel of a spec. INVALID_ARGUMENT for epsilon outside its norm's range (`pixels`: values of
// one image) or an empty clip range.
absl::StatusOr<ThreatModel> ToThreatModel(const v1::ThreatModel& threat, const ModelShape& shape);

}  // namespace adamant
