// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/ascent.h"

#include <stdexcept>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/torch.h"

namespace adamant {

void Ascend(Search& search, at::Tensor x, const AscentPlan& plan, const Look& look) {
  const Norm norm = search.set().threat().norm;
  at::Tensor velocity;
  for (int64_t step = 0; step < plan.steps; ++step) {
    LossGradient seen = look(x, step, true);
    search.Observe(x, seen, step, {&velocity});
    if (search.empty()) return;
    velocity = Accumulated(velocity, seen.gradient, plan.momentum);
    x = search.set().Project(x + plan.step_size * StepDirection(norm, velocity, plan.sparsity));
  }
  if (!search.wants_last()) return search.EndRestart(x);
  LossGradient seen = look(x, plan.steps, false);
  search.Observe(x, seen, plan.steps);
  if (!search.empty()) search.EndRestart(x, seen.loss);
}

void AscendOnce(Search& search, at::Tensor x, double size, const Look& look) {
  LossGradient seen = look(x, 0, true);
  search.Observe(x, seen, 0);
  if (search.empty()) return;
  const at::Tensor direction = StepDirection(search.set().threat().norm, seen.gradient);
  search.ClaimAll(search.set().Project(x + size * direction), 1);
}

std::vector<Param> AscentParams(int64_t steps, const std::string& rule, int64_t most_steps) {
  return Joined(Joined(SearchParams(), StepParams(steps, rule, most_steps)),
                {Bool("random_start", true).Doc("pgd: start at a random point of the ball")});
}

BaseAttack::BaseAttack(const Params& params)
    : options_(ParseSearch(params)),
      base_(params.Has("base") ? params.Text("base") : "pgd"),
      steps_(params.Int("steps")),
      rule_(ParseStepRule(params)),
      random_start_(base_ == "pgd" && params.Bool("random_start")),
      momentum_(base_ == "mi_fgsm" ? params.Real("mu") : 0) {
  StepSize(rule_, {}, steps_, 1);
  if (!absl::EndsWith(base_, "step_ll")) return;
  if (options_.target != "none" && options_.target != "least_likely") {
    throw std::invalid_argument(
        absl::StrCat("base ", base_, " aims at the least likely class: leave target out"));
  }
  options_.target = "least_likely";
  MakeLoss(options_.loss, true, options_.numerics);
}

LossFunction BaseAttack::Summand() const {
  return MakeSummand(options_.loss, options_.target != "none", options_.numerics);
}

AttackResult BaseAttack::Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                             const AttackSettings& settings, const RunControl& control,
                             const MakeTapLoss& make) const {
  if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
  const AscentPlan plan{steps_, StepSize(rule_, threat, steps_, settings.step_scale), momentum_};
  Search search(victim, batch, threat, settings, control, options_);
  TapLoss loss;
  const Look look = [&](const at::Tensor& x, int64_t, bool gradient) {
    if (!gradient) return search.Loss(x);
    return loss.values ? search.Gradient(x, loss) : search.Gradient(x);
  };
  for (int64_t restart = 0; restart < options_.restarts; ++restart) {
    if (!search.BeginRestart(restart)) break;
    if (restart == 0 && make) loss = make(search);
    if (one_step()) {
      AscendOnce(search, search.Start(false), threat.epsilon, look);
    } else {
      Ascend(search, search.Start(random_start_), plan, look);
    }
  }
  return std::move(search).Result();
}

}  // namespace adamant
