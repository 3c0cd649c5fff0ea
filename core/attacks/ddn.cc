// SPDX-License-Identifier: Apache-2.0
// DDN (Rony et al. 2019, arXiv 1811.09600): direction and norm apart. With g the unit gradient of
// cross-entropy at v = x + d,
//   d := d + alpha_k g,   e := e (1 - gamma) where v is adversarial, else e (1 + gamma),
//   v := clip(x + e d / ||d||_2),
// alpha_k falling from 1 to 0.01 along a cosine. e never exceeds the farthest corner of the box.
//
// Differs from the published code: where the gradient is 0 the direction stays, without noise.
#include <utility>

#include "core/attacks/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kTiny = 1e-12;
constexpr double kLevels = 255;
constexpr double kLastAlpha = 0.01;

class Ddn final : public Attack {
 public:
  explicit Ddn(const Params& params)
      : options_(ParseNearest(params)),
        steps_(params.Int("steps")),
        gamma_(params.Real("gamma")),
        init_(params.Real("init_norm")),
        quantise_(params.Bool("quantise")) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return NothingNear(batch);
    Search search(victim, batch, threat, settings, control, options_);
    search.BeginRestart(0);
    RunSteps(search);
    return std::move(search).Result();
  }

 private:
  void RunSteps(Search& search) const {
    at::Tensor v = search.Start(false);
    at::Tensor radius = at::full({v.size(0)}, init_, v.options().dtype(at::kDouble));
    for (int64_t step = 0; step < steps_; ++step) {
      const LossGradient seen = search.Gradient(v);
      const at::Tensor success = search.Misclassified(seen.logits);
      radius = radius * (1 + gamma_ * (1 - 2 * success.to(at::kDouble)));
      at::Tensor change =
          v - search.set().origin() +
          Cosine(1, kLastAlpha, step, steps_) * StepDirection(Norm::kL2, seen.gradient);
      search.ObserveNearest(v, success, step, {&radius, &change});
      if (search.empty()) return;
      v = Place(search.set(), change, radius);
    }
    search.ObserveNearest(v, search.Misclassified(search.Logits(v)), steps_);
  }

  at::Tensor Place(const FeasibleSet& set, const at::Tensor& change, at::Tensor& radius) const {
    const at::Tensor& x = set.origin();
    radius = radius.minimum(RowNorm(Norm::kL2, x.maximum(1 - x)));
    const at::Tensor scale = radius / RowNorm(Norm::kL2, change).clamp_min(kTiny);
    const at::Tensor v = (x + PerRow(scale.to(x.scalar_type())) * change)
                             .clamp_(set.threat().clip_min, set.threat().clip_max);
    return quantise_ ? (v * kLevels).round() / kLevels : v;
  }

  const SearchOptions options_;
  const int64_t steps_;
  const double gamma_;
  const double init_;
  const bool quantise_;
};

const Registration<Attack> kDdn{
    {.name = "ddn",
     .summary = "smallest L2 change, its direction and its norm apart",
     .paper = "Rony et al. 2019, arXiv 1811.09600",
     .params = Joined(NearestParams(),
                      {Int("steps", 100).Range(1, 10000).Doc("gradient steps"),
                       Real("gamma", 0.05).Range(0, 1).Doc("share by which the norm changes"),
                       Real("init_norm", 1).Range(1e-6, 1e6).Doc("first norm"),
                       Bool("quantise", false).Doc("images of 256 levels only")}),
     .norms = {"l2"},
     .test_params = {{"steps", 12}}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<Ddn>(params); }};

}  // namespace
}  // namespace adamant
