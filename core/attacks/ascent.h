// SPDX-License-Identifier: Apache-2.0
// Projected gradient ascent as pgd and the attacks built on it take it, and base attacks whose loss
// gets a further term that looks inside the network.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/attacks/search.h"

namespace adamant {

// Loss of iterate `step` and, where `gradient`, its gradient.
using Look = std::function<LossGradient(const at::Tensor& images, int64_t step, bool gradient)>;

struct AscentPlan {
  int64_t steps = 0;
  double step_size = 0;
  double momentum = 0;
  double sparsity = 0.1;  // L1: see StepDirection
};

// One restart from `x`: every iterate is tested, the last one too where search.wants_last().
void Ascend(Search& search, at::Tensor x, const AscentPlan& plan, const Look& look);

// One step of length `size` from `x`, which is claimed without a forward pass of its own.
void AscendOnce(Search& search, at::Tensor x, double size, const Look& look);

// Params of SearchParams and StepParams, and random_start.
std::vector<Param> AscentParams(int64_t steps, const std::string& rule, int64_t most_steps);

// fgsm and step_ll: one step of epsilon from the clean image. pgd, bim, iter_step_ll, mi_fgsm:
// steps of one size; pgd alone may start at a random point, mi_fgsm alone has momentum. The forms
// with "ll" aim at the least likely class of the clean image. Immutable.
class BaseAttack {
 public:
  // Makes what is ascended; every row of the batch is in search. Called once for a Run.
  using MakeTapLoss = std::function<TapLoss(Search& search)>;

  // Params: those of AscentParams, `base` (else pgd) and `mu` (else 0). Throws
  // std::invalid_argument for contradictions.
  explicit BaseAttack(const Params& params);

  // Of the base attack alone where `make` is empty.
  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control,
                   const MakeTapLoss& make) const;

  // The loss of the base attack, to add to; see MakeSummand.
  LossFunction Summand() const;
  const SearchOptions& options() const { return options_; }

 private:
  bool one_step() const { return base_ == "fgsm" || base_ == "step_ll"; }

  SearchOptions options_;
  const std::string base_;
  const int64_t steps_;
  const StepRule rule_;
  const bool random_start_;
  const double momentum_;
};

}  // namespace adamant
