// SPDX-License-Identifier: Apache-2.0
// NewtonFool (Jang et al. 2017): with p the probability of the label at v and g = dp/dx,
//   v := clip(v - min(eta ||x||_2 ||g||_2, p - 1/K) g / ||g||_2^2),  until v is misclassified.
// The probability is taken in double, so that it does not saturate.
#include <utility>

#include "core/attacks/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

// Below the square of every float's gradient: float32 underflows first.
constexpr double kTiny = 1e-100;

at::Tensor Doubt(const at::Tensor& logits, const Aims& aims) {
  const at::Tensor p = at::softmax(logits.to(at::kDouble), 1);
  return -p.gather(1, aims.labels.unsqueeze(1)).squeeze(1);
}

class NewtonFool final : public Attack {
 public:
  explicit NewtonFool(const Params& params)
      : steps_(params.Int("steps")), eta_(params.Real("eta")) {
    options_.loss = "margin";
    options_.early_stop = params.Bool("stop_at_eps");
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return NothingNear(batch);
    Search search(victim, batch, threat, settings, control, options_);
    search.BeginRestart(0);
    at::Tensor v = search.Start(false);
    for (int64_t step = 0; step < steps_; ++step) {
      const LossGradient seen = search.Gradient(v, Doubt);
      at::Tensor move = Move(search.set(), seen);
      const at::Tensor settled =
          search.ObserveNearest(v, search.Misclassified(seen.logits), step, {&move});
      search.KeepOnly(settled.logical_not(), v, {&move});
      if (search.empty()) return std::move(search).Result();
      v = (v + move).clamp_(threat.clip_min, threat.clip_max);
    }
    search.ObserveNearest(v, search.Misclassified(search.Logits(v)), steps_);
    return std::move(search).Result();
  }

 private:
  at::Tensor Move(const FeasibleSet& set, const LossGradient& seen) const {
    const double chance = 1.0 / static_cast<double>(seen.logits.size(1));
    const at::Tensor slope = RowNorm(Norm::kL2, seen.gradient);
    const at::Tensor reach = eta_ * RowNorm(Norm::kL2, set.origin()) * slope;
    const at::Tensor fall = reach.minimum((-seen.loss - chance).clamp_min(0));
    const at::Tensor scale = fall / slope.square().clamp_min(kTiny);
    return (PerRow(scale) * seen.gradient).to(at::kFloat);
  }

  SearchOptions options_;
  const int64_t steps_;
  const double eta_;
};

const Registration<Attack> kNewtonFool{
    {.name = "newton_fool",
     .summary = "small Newton steps that lower the label's probability",
     .paper = "Jang et al. 2017, ACSAC",
     .params =
         {Int("steps", 100).Range(1, 100000).Doc("steps at most"),
          Real("eta", 0.01).Range(0, 1e6).Doc("step, as a share of the image's L2 norm"),
          Bool("stop_at_eps", true).Doc("a sample leaves when it is inside the threat model")},
     .norms = {"l2"},
     .traits = {"heuristic"},
     .test_params = {{"steps", 12}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<NewtonFool>(params);
    }};

}  // namespace
}  // namespace adamant
