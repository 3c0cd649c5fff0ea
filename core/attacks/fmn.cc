// SPDX-License-Identifier: Apache-2.0
// FMN (Pintor et al. 2021, arXiv 2102.12827). With L = max_{j != y} z_j - z_y and g = dL/dx at
// v = x + d,
//   e := 1.001 (||d||_p + |L| / ||g||_q)        where no adversarial image is known yet,
//   e := min(e (1 - gamma_k), nearest so far)   where v is adversarial, else e (1 + gamma_k),
//   d := P_e(d + alpha_k g / ||g||_2),  v := clip(x + d),
// alpha_k falling from alpha to alpha / 100, gamma_k from gamma to 0.001 along a cosine. L0: e
// counts pixels, starts at 1 and moves by at least 1.
//
// Differs from the published code: the factor 1.001. Without it rounding decides whether a step
// onto the linearised boundary crosses it, and where it stops short every later step does as well.
#include <limits>
#include <utility>

#include "core/attacks/nearest.h"
#include "core/attacks/shrink.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kTiny = 1e-12;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLastGamma = 0.001;

// One try; every tensor has one row per sample in search.
struct Walk {
  at::Tensor v, radius, success, loss, gradient;
};

class Fmn final : public Attack {
 public:
  explicit Fmn(const Params& params)
      : options_(Options(params)),
        steps_(params.Int("steps")),
        alpha_(params.Real("alpha")),
        gamma_(params.Real("gamma")) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return NothingNear(batch);
    Search search(victim, batch, threat, settings, control, options_);
    for (int64_t restart = 0; restart < options_.restarts; ++restart) {
      if (!search.BeginRestart(restart)) break;
      RunSteps(search, restart);
    }
    return std::move(search).Result();
  }

 private:
  static SearchOptions Options(const Params& params) {
    SearchOptions options = ParseNearest(params, "margin");
    options.restarts = params.Int("restarts");
    return options;
  }

  void RunSteps(Search& search, int64_t restart) const {
    const bool pixels = search.set().threat().norm == Norm::kL0;
    Walk at;
    at.v = search.Start(/*random=*/restart > 0);
    const at::Tensor size = RowNorm(Norm::kL0, at.v - search.set().origin());
    at.radius = pixels ? size.clamp_min(1) : at::full_like(size, kInfinity);
    for (int64_t step = 0; step < steps_; ++step) {
      const LossGradient seen = search.Gradient(at.v);
      at.success = search.Misclassified(seen.logits);
      at.gradient = seen.gradient;
      at.loss = seen.loss;
      search.ObserveNearest(at.v, at.success, step,
                            {&at.radius, &at.success, &at.gradient, &at.loss});
      if (search.empty()) return;
      const double gamma = Cosine(gamma_, kLastGamma, step, steps_);
      at.radius = pixels ? NextPixels(search, gamma, at) : NextRadius(search, gamma, at);
      Step(search.set(), Cosine(alpha_, alpha_ / 100, step, steps_), at);
    }
    search.ObserveNearest(at.v, search.Misclassified(search.Logits(at.v)), steps_);
  }

  static at::Tensor NextRadius(const Search& search, double gamma, const Walk& at) {
    const Norm norm = search.set().threat().norm;
    const at::Tensor nearest = search.nearest();
    const at::Tensor estimate =
        (1 + kLastGamma) * (RowNorm(norm, at.v - search.set().origin()) +
                            at.loss.abs() / DualNorm(norm, at.gradient).clamp_min(kTiny));
    const at::Tensor outside = at::where(at::isfinite(nearest), at.radius * (1 + gamma), estimate);
    return at::where(at.success, (at.radius * (1 - gamma)).minimum(nearest), outside);
  }

  static at::Tensor NextPixels(const Search& search, double gamma, const Walk& at) {
    const at::Tensor fewer =
        (at.radius - 1).minimum((at.radius * (1 - gamma)).floor()).minimum(search.nearest());
    const at::Tensor more = (at.radius + 1).maximum((at.radius * (1 + gamma)).floor());
    return at::where(at.success, fewer, more).clamp_min(0);
  }

  static void Step(const FeasibleSet& set, double alpha, Walk& at) {
    const Norm norm = set.threat().norm;
    const at::Tensor& x = set.origin();
    at.radius = at.radius.minimum(RowNorm(norm, x.maximum(1 - x)));
    const at::Tensor change = at.v - x + alpha * StepDirection(Norm::kL2, at.gradient);
    at.v =
        (x + Shrink(norm, change, at.radius)).clamp_(set.threat().clip_min, set.threat().clip_max);
  }

  const SearchOptions options_;
  const int64_t steps_;
  const double alpha_;
  const double gamma_;
};

const Registration<Attack> kFmn{
    {.name = "fmn",
     .summary =
         "smallest change by steps on the margin within a ball that shrinks onto the boundary",
     .paper = "Pintor et al. 2021, arXiv 2102.12827",
     .params = Joined(NearestParams(),
                      {Int("steps", 100).Range(1, 100000).Doc("gradient steps"),
                       Int("restarts", 1).Range(1, 1000).Doc("tries; all but the first at random"),
                       Real("alpha", 1).Range(0, 1e6).Doc("first step size"),
                       Real("gamma", 0.05).Range(0, 1).Doc("first share the radius changes by")}),
     .norms = {"linf", "l2", "l1", "l0"},
     .test_params = {{"steps", 12}}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<Fmn>(params); }};

}  // namespace
}  // namespace adamant
