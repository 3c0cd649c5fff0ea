// SPDX-License-Identifier: Apache-2.0
// Base attacks whose loss gets a further term that looks inside the network.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/attacks/search.h"

namespace adamant {

// Where an attack differs from the defaults of pgd.
struct AscentDefaults {
  int64_t steps = 40;
  double most_steps = 100000;
  std::string rule = "madry";
};

// Those of Search, and steps, step_size, step_rule, step_frac, random_start.
std::vector<Param> AscentParams(const AscentDefaults& defaults);

// fgsm and step_ll: one step of epsilon from the clean image. pgd, bim, iter_step_ll, mi_fgsm:
// steps of one size; pgd alone may start at a random point, mi_fgsm alone has momentum. The forms
// with "ll" aim at the least likely class of the clean image. Immutable.
class Ascent {
 public:
  // Makes what is ascended; every row of the batch is in search. Called once for a Run.
  using MakeLoss = std::function<TapLoss(Search& search)>;

  // Params: those of AscentParams, `base` (else pgd) and `mu` (else 0). Throws
  // std::invalid_argument for contradictions.
  explicit Ascent(const Params& params);

  // Of the base attack alone where `make` is empty.
  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control,
                   const MakeLoss& make) const;

  // The loss of the base attack, to add to; see MakeSummand.
  LossFunction Summand() const;
  const SearchOptions& options() const { return options_; }

 private:
  bool one_step() const { return base_ == "fgsm" || base_ == "step_ll"; }
  static LossGradient Gradient(Search& search, const at::Tensor& images, const TapLoss& loss);
  void Step(Search& search, const TapLoss& loss) const;
  void Iterate(Search& search, double step_size, const TapLoss& loss) const;

  SearchOptions options_;
  const std::string base_;
  const int64_t steps_;
  const StepRule rule_;
  const bool random_start_;
  const double momentum_;
};

}  // namespace adamant
