// SPDX-License-Identifier: Apache-2.0
// ALMA (Rony et al. 2021, arXiv 2011.11857): the distance D(v) = ||v - x||_p under the constraint
// h(v) = (z_y - max_{j != y} z_j) / (z_(1) - z_(3)) + t <= 0, t = `tolerance`, by an augmented
// Lagrangian with the penalty
//   P(h) = mu h + mu rho h^2 + rho^2 h^3 / 6 where h >= 0, else mu h / (1 - rho h).
// Each step: mu := a mu + (1 - a) P'(h); g = gradient of D + P; v := clip(v - lr_k m) with
//   s := a s + (1 - a) g^2,  m := a m + g / (sqrt(s) + 1e-8),
// lr_k falling by the factor `lr_reduction` from the sample's first success on. Every `check_steps`
// rho grows by gamma where nothing was found yet and h did not fall to tau of what it was. The
// first step leaves D out.
//
// Differs from adv-lib: t is added to the ratio, not to the logits; success is misclassification,
// not h < 0; the last iterate is tested as well. Untargeted only.
#include <limits>
#include <utility>

#include "core/attacks/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kTiny = 1e-8;
constexpr double kSmallestMu = 1e-6;
constexpr double kLargestMu = 1e12;
constexpr int kDoublings = 30;
constexpr int kHalvings = 20;

// dP/dh.
at::Tensor PenaltySlope(const at::Tensor& h, const at::Tensor& rho, const at::Tensor& mu) {
  const at::Tensor above = mu + 2 * mu * rho * h + rho * rho * h * h / 2;
  const at::Tensor below = mu / (1 - rho * h.clamp_max(0)).square();
  return at::where(h >= 0, above, below);
}

// dD/dv, 0 at D = 0.
at::Tensor DistanceSlope(Norm norm, const at::Tensor& change) {
  return norm == Norm::kL1 ? change.sign() : StepDirection(norm, change);
}

// One search; every tensor has one row per sample in search.
struct Multiplier {
  at::Tensor v, square, momentum;
  at::Tensor rate, mu, rho, before;  // double
  at::Tensor since;                  // double: step of the first success, +inf before it
  at::Tensor h, success, gradient;   // at v; gradient of h
};

class Alma final : public Attack {
 public:
  explicit Alma(const Params& params)
      : steps_(params.Int("steps")),
        rate_(params.Real("lr_init")),
        reduction_(params.Real("lr_reduction")),
        first_distance_(params.Real("init_lr_distance")),
        mu_(params.Real("mu_init")),
        rho_(params.Real("rho_init")),
        check_steps_(params.Int("check_steps")),
        tau_(params.Real("tau")),
        gamma_(params.Real("gamma")),
        alpha_(params.Real("alpha")),
        tolerance_(params.Real("tolerance")) {
    options_.loss = "dlr";
    options_.early_stop = params.Bool("stop_at_eps");
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return NothingNear(batch);
    Search search(victim, batch, threat, settings, control, options_);
    search.BeginRestart(0);
    RunSteps(search);
    return std::move(search).Result();
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    return LossNotes(options_, num_classes);
  }

 private:
  void RunSteps(Search& search) const {
    Multiplier at = Begin(search);
    for (int64_t step = 0; step < steps_; ++step) {
      const LossGradient seen = search.Gradient(at.v);
      at.success = search.Misclassified(seen.logits);
      at.h = tolerance_ - seen.loss.nan_to_num(0, 0, 0);
      at.gradient = -seen.gradient;
      search.ObserveNearest(at.v, at.success, step,
                            {&at.square, &at.momentum, &at.rate, &at.mu, &at.rho, &at.before,
                             &at.since, &at.h, &at.success, &at.gradient});
      if (search.empty()) return;
      Weigh(step, at);
      Step(search.set(), step, at);
    }
    search.ObserveNearest(at.v, search.Misclassified(search.Logits(at.v)), steps_);
  }

  Multiplier Begin(const Search& search) const {
    Multiplier at;
    at.v = search.Start(false);
    at.square = at::ones_like(at.v);
    at.momentum = at::zeros_like(at.v);
    const auto all = [&](double value) {
      return at::full({at.v.size(0)}, value, at.v.options().dtype(at::kDouble));
    };
    at.rate = all(rate_);
    at.mu = all(mu_);
    at.rho = all(rho_);
    at.before = all(0);
    at.since = all(std::numeric_limits<double>::infinity());
    return at;
  }

  // The multiplier, and how much its penalty grows.
  void Weigh(int64_t step, Multiplier& at) const {
    if (step == 0) {
      at.before = at.h;
    } else if ((step + 1) % check_steps_ == 0) {
      const at::Tensor fine = at::isfinite(at.since).logical_or(at.h < tau_ * at.before);
      at.rho = at::where(fine, at.rho, gamma_ * at.rho);
      at.before = at.h;
    }
    if (step > 0) {
      const at::Tensor slope = PenaltySlope(at.h, at.rho, at.mu);
      at.mu = (alpha_ * at.mu + (1 - alpha_) * slope).clamp(kSmallestMu, kLargestMu);
    }
    at.since = at::where(at.success, at.since.clamp_max(static_cast<double>(step)), at.since);
  }

  void Step(const FeasibleSet& set, int64_t step, Multiplier& at) const {
    const at::Tensor weight = PenaltySlope(at.h, at.rho, at.mu);
    at::Tensor g = PerRow(weight.to(at::kFloat)) * at.gradient;
    const at::Tensor change = at.v - set.origin();
    if (step > 0) g = g + DistanceSlope(set.threat().norm, change);
    if (step == 0 && first_distance_ > 0) at.rate = FirstRate(set, g);
    at.square = alpha_ * at.square + (1 - alpha_) * g * g;
    at.momentum = alpha_ * at.momentum + g / (at.square.sqrt() + kTiny);
    const auto now = static_cast<double>(step);
    const auto end = static_cast<double>(steps_);
    const at::Tensor share =
        at::where(at::isfinite(at.since), (now - at.since) / (end - at.since), 0.0);
    const at::Tensor rate = at.rate * at::pow(at::Scalar(reduction_), share);
    at.v = (at.v - PerRow(rate.to(at::kFloat)) * at.momentum)
               .clamp_(set.threat().clip_min, set.threat().clip_max);
  }

  // The rate at which a step along the gradient goes `init_lr_distance` far.
  at::Tensor FirstRate(const FeasibleSet& set, const at::Tensor& g) const {
    const ThreatModel& threat = set.threat();
    const at::Tensor& x = set.origin();
    const auto too_far = [&](const at::Tensor& rate) {
      const at::Tensor v = (x - PerRow(rate.to(at::kFloat)) * g);
      return RowNorm(threat.norm, v.clamp(threat.clip_min, threat.clip_max) - x) > first_distance_;
    };
    at::Tensor high = at::ones({x.size(0)}, x.options().dtype(at::kDouble));
    at::Tensor low = at::zeros_like(high);
    for (int i = 0; i < kDoublings; ++i) {
      const at::Tensor done = too_far(high);
      low = at::where(done, low, high);
      high = at::where(done, high, 2 * high);
    }
    for (int i = 0; i < kHalvings; ++i) {
      const at::Tensor middle = (low + high) / 2;
      const at::Tensor larger = too_far(middle);
      low = at::where(larger, low, middle);
      high = at::where(larger, middle, high);
    }
    return at::where(too_far(high), (low + high) / 2, rate_);
  }

  SearchOptions options_;
  const int64_t steps_;
  const double rate_;
  const double reduction_;
  const double first_distance_;
  const double mu_;
  const double rho_;
  const int64_t check_steps_;
  const double tau_;
  const double gamma_;
  const double alpha_;
  const double tolerance_;
};

const Registration<Attack> kAlma{
    {.name = "alma",
     .summary = "smallest change by an augmented Lagrangian",
     .paper = "Rony et al. 2021, arXiv 2011.11857",
     .params =
         {Int("steps", 1000).Range(1, 100000).Doc("gradient steps"),
          Real("lr_init", 0.1).Range(1e-6, 1e6).Doc("first learning rate"),
          Real("lr_reduction", 0.01).Range(1e-9, 1).Doc("what is left of it at the end"),
          Real("init_lr_distance", 0)
              .Range(0, 1e6)
              .Doc("how far a step of the first learning rate goes along the gradient; 0: lr_init"),
          Real("mu_init", 1).Range(1e-6, 1e12).Doc("first multiplier of the constraint"),
          Real("rho_init", 1).Range(1e-6, 1e12).Doc("first strength of the penalty"),
          Int("check_steps", 10).Range(1, 100000).Doc("steps between two looks at the constraint"),
          Real("tau", 0.95).Range(0, 1).Doc("share that the constraint has to fall to"),
          Real("gamma", 1.2).Range(1, 1e6).Doc("factor of the penalty where it does not"),
          Real("alpha", 0.9).Range(0, 0.9999).Doc("weight of the past in all averages"),
          Real("tolerance", 1e-4).Range(0, 1).Doc("how far beyond the boundary to aim"),
          Bool("stop_at_eps", true).Doc("a sample leaves when it is inside the threat model")},
     .norms = {"l2", "l1"},
     .test_params = {{"steps", 30}}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<Alma>(params); }};

}  // namespace
}  // namespace adamant
