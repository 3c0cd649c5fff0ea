// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/ascent.h"

#include <stdexcept>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/torch.h"

namespace adamant {

std::vector<Param> AscentParams(const AscentDefaults& defaults) {
  return Joined(
      SearchParams(),
      {Int("steps", defaults.steps).Range(1, defaults.most_steps).Doc("gradient steps"),
       Real("step_size", 0).Range(0, 1).Doc("pixel units; 0: by step_rule"),
       Choice("step_rule", defaults.rule, {"fixed", "eps_div_steps", "madry", "fraction"})
           .Doc("epsilon/steps, 2.5*epsilon/steps or step_frac*epsilon; fixed: step_size"),
       Real("step_frac", 0.1).Range(0, 1e6).Doc("share of epsilon, for step_rule fraction"),
       Bool("random_start", true).Doc("pgd: start at a random point of the ball")});
}

Ascent::Ascent(const Params& params)
    : options_(ParseSearch(params)),
      base_(params.Has("base") ? params.Text("base") : "pgd"),
      steps_(params.Int("steps")),
      rule_{params.Text("step_rule"), params.Real("step_size"), params.Real("step_frac")},
      random_start_(base_ == "pgd" && params.Bool("random_start")),
      momentum_(base_ == "mi_fgsm" ? params.Real("mu") : 0) {
  StepSize(rule_, {}, steps_, 1);
  if (!absl::EndsWith(base_, "step_ll")) return;
  if (options_.target != "none" && options_.target != "least_likely") {
    throw std::invalid_argument(
        absl::StrCat("base ", base_, " aims at the least likely class: leave target out"));
  }
  options_.target = "least_likely";
  adamant::MakeLoss(options_.loss, true, options_.numerics);
}

LossFunction Ascent::Summand() const {
  return MakeSummand(options_.loss, options_.target != "none", options_.numerics);
}

AttackResult Ascent::Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                         const AttackSettings& settings, const RunControl& control,
                         const MakeLoss& make) const {
  if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
  Search search(victim, batch, threat, settings, control, options_);
  search.BeginRestart(0);
  const TapLoss loss = make ? make(search) : TapLoss();
  for (int64_t restart = 0; restart < options_.restarts; ++restart) {
    if (!search.BeginRestart(restart)) break;
    if (one_step()) {
      Step(search, loss);
    } else {
      Iterate(search, StepSize(rule_, threat, steps_, settings.step_scale), loss);
    }
  }
  return std::move(search).Result();
}

LossGradient Ascent::Gradient(Search& search, const at::Tensor& images, const TapLoss& loss) {
  return loss.values ? search.Gradient(images, loss) : search.Gradient(images);
}

void Ascent::Step(Search& search, const TapLoss& loss) const {
  at::Tensor x = search.Start(false);
  LossGradient seen = Gradient(search, x, loss);
  search.Observe(x, seen, 0);
  if (search.empty()) return;
  const ThreatModel& threat = search.set().threat();
  const at::Tensor step = threat.epsilon * StepDirection(threat.norm, seen.gradient);
  search.ClaimAll(search.set().Project(x + step), 1);
}

void Ascent::Iterate(Search& search, double step_size, const TapLoss& loss) const {
  at::Tensor x = search.Start(random_start_);
  at::Tensor velocity;
  for (int64_t step = 0; step < steps_; ++step) {
    LossGradient seen = Gradient(search, x, loss);
    search.Observe(x, seen, step, {&velocity});
    if (search.empty()) return;
    velocity = Accumulated(velocity, seen.gradient, momentum_);
    x = search.set().Project(x + step_size * StepDirection(search.set().threat().norm, velocity));
  }
  if (!search.wants_last()) return search.EndRestart(x);
  LossGradient seen = search.Loss(x);
  search.Observe(x, seen, steps_);
  if (!search.empty()) search.EndRestart(x, seen.loss);
}

}  // namespace adamant
