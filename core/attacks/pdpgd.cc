// SPDX-License-Identifier: Apache-2.0
// PDPGD (Matyasko and Chau 2021, arXiv 2106.01538): descent on r = v - x and ascent on the weights
// (l_0, l_1), their softmax, of
//   l_0 ||r||_p + l_1 softplus(max(m, 0)),   m = z_y - max_{j != y} z_j.
// Each step: r by Adam on the second term, then up to `proximal_steps` of
//   z := prox(z - H (z - r), l_0 / l_1 * lr_k / max psi),  H = psi / max psi,
// psi being Adam's divisor; every sample on its own until z moves by less than `proximal_tolerance`
// of its size. l_1 in log space goes by dual_lr_k * sign(m), and the weights that count are an
// average of ratio `dual_ema`. lr_k falls exponentially, dual_lr_k linearly. L0: the proximal
// operator of sum |r_i|^(2/3) (as the authors advise), or of the number of changed pixels.
//
// Differs from adv-lib: the L2/3 operator drops every value for which 0 is better; a random start
// follows the threat model's own random points.
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/attacks/nearest.h"
#include "core/attacks/shrink.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kAdamFloor = 1e-8;
constexpr double kTiny = 1e-12;

// One search; every tensor has one row per sample in search.
struct Saddle {
  at::Tensor v, moment, square;
  at::Tensor odds;    // double: log l_1 - log l_0
  at::Tensor share;   // double: averaged l_1
  at::Tensor margin;  // double: m at v
  at::Tensor gradient;
};

class Pdpgd final : public Attack {
 public:
  explicit Pdpgd(const Params& params)
      : options_(ParseNearest(params, "margin")),
        steps_(params.Int("steps")),
        random_start_(params.Bool("random_start")),
        rate_(params.Real("primal_lr")),
        rate_left_(params.Real("primal_lr_decrease")),
        first_ratio_(params.Real("dual_ratio_init")),
        dual_rate_(params.Real("dual_lr")),
        dual_left_(params.Real("dual_lr_decrease")),
        ema_(params.Real("dual_ema")),
        most_odds_(-std::log(params.Real("dual_min_ratio"))),
        proximal_steps_(params.Int("proximal_steps")),
        tolerance_(params.Real("proximal_tolerance")),
        two_thirds_(params.Text("l0_proximal") == "two_thirds") {}

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
    Saddle at;
    at.v = search.Start(random_start_);
    at.moment = at::zeros_like(at.v);
    at.square = at::zeros_like(at.v);
    at.odds = at::full({at.v.size(0)}, -std::log(first_ratio_), at.v.options().dtype(at::kDouble));
    at.share = at.odds.sigmoid();
    for (int64_t step = 0; step < steps_; ++step) {
      const LossGradient seen = search.Gradient(at.v);
      at.margin = -seen.loss.nan_to_num(0, 0, 0);
      at.gradient = -seen.gradient;
      search.ObserveNearest(
          at.v,
          search.Misclassified(seen.logits).logical_and(Reaches(search.aims(), seen.logits, 0)),
          step, {&at.moment, &at.square, &at.odds, &at.share, &at.margin, &at.gradient});
      if (search.empty()) return;
      Descend(search.set(), step, at);
      Ascend(step, at);
    }
    const at::Tensor logits = search.Logits(at.v);
    search.ObserveNearest(
        at.v, search.Misclassified(logits).logical_and(Reaches(search.aims(), logits, 0)), steps_);
  }

  void Descend(const FeasibleSet& set, int64_t step, Saddle& at) const {
    const at::Tensor slope = at::where(at.margin >= 0, at.margin.sigmoid(), 0.0);
    const at::Tensor g = PerRow(slope.to(at::kFloat)) * at.gradient;
    at.moment = kBeta1 * at.moment + (1 - kBeta1) * g;
    at.square = kBeta2 * at.square + (1 - kBeta2) * g * g;
    const auto count = static_cast<double>(step + 1);
    const at::Tensor divisor = (at.square / (1 - std::pow(kBeta2, count))).sqrt() + kAdamFloor;
    const double rate =
        rate_ * std::pow(rate_left_, static_cast<double>(step) / static_cast<double>(steps_));
    const at::Tensor moved = Boxed(
        set, at.v - set.origin() - rate / (1 - std::pow(kBeta1, count)) * at.moment / divisor);
    const at::Tensor widest = divisor.flatten(1).amax(1).to(at::kDouble);
    const at::Tensor weight = (1 - at.share) / at.share * rate / widest;
    at.v = set.origin() + Settle(set, moved, divisor / PerRow(widest.to(at::kFloat)), weight);
    at.v.clamp_(set.threat().clip_min, set.threat().clip_max);
  }

  // The proximal iterations from r.
  at::Tensor Settle(const FeasibleSet& set, const at::Tensor& r, const at::Tensor& metric,
                    const at::Tensor& weight) const {
    const Norm norm = set.threat().norm;
    at::Tensor z = r;
    at::Tensor open = at::ones({r.size(0)}, r.options().dtype(at::kBool));
    for (int64_t i = 0; i < proximal_steps_; ++i) {
      const at::Tensor pulled = z - metric * (z - r);
      const at::Tensor next =
          Boxed(set, norm == Norm::kL0 && two_thirds_ ? ProximalTwoThirds(pulled, weight)
                                                      : Proximal(norm, pulled, weight));
      const at::Tensor taken = at::where(PerRow(open), next, z);
      const at::Tensor size = RowNorm(Norm::kL2, taken).clamp_min(kTiny);
      open = RowNorm(Norm::kL2, taken - z) / size > tolerance_;
      z = taken;
    }
    return z;
  }

  static at::Tensor Boxed(const FeasibleSet& set, const at::Tensor& change) {
    const at::Tensor& x = set.origin();
    return change.maximum(set.threat().clip_min - x).minimum(set.threat().clip_max - x);
  }

  void Ascend(int64_t step, Saddle& at) const {
    const auto last = static_cast<double>(std::max<int64_t>(1, steps_ - 1));
    const double left = (last - static_cast<double>(step)) / last;
    const double rate = dual_rate_ * (left * (1 - dual_left_) + dual_left_);
    at.odds = (at.odds + rate * at.margin.sign()).clamp(-most_odds_, most_odds_);
    at.share = ema_ * at.share + (1 - ema_) * at.odds.sigmoid();
  }

  const SearchOptions options_;
  const int64_t steps_;
  const bool random_start_;
  const double rate_;
  const double rate_left_;
  const double first_ratio_;
  const double dual_rate_;
  const double dual_left_;
  const double ema_;
  const double most_odds_;
  const int64_t proximal_steps_;
  const double tolerance_;
  const bool two_thirds_;
};

const Registration<Attack> kPdpgd{
    {.name = "pdpgd",
     .summary = "smallest change by primal-dual proximal gradient steps",
     .paper = "Matyasko and Chau 2021, arXiv 2106.01538",
     .params = Joined(
         NearestParams(),
         {Int("steps", 500).Range(1, 100000).Doc("gradient steps"),
          Bool("random_start", false).Doc("start at a random point of the threat model"),
          Real("primal_lr", 0.1).Range(1e-6, 1e6).Doc("first learning rate of the change"),
          Real("primal_lr_decrease", 0.01).Range(1e-9, 1).Doc("what is left of it at the end"),
          Real("dual_ratio_init", 0.01)
              .Range(1e-9, 1e9)
              .Doc("first weight of the distance, relative to the loss's"),
          Real("dual_lr", 0.1).Range(0, 1e6).Doc("first learning rate of the weights"),
          Real("dual_lr_decrease", 0.1).Range(0, 1).Doc("what is left of it at the end"),
          Real("dual_ema", 0.9).Range(0, 0.9999).Doc("weight of the past in the weights"),
          Real("dual_min_ratio", 1e-6).Range(1e-12, 1).Doc("smallest ratio of the two weights"),
          Int("proximal_steps", 5).Range(1, 1000).Doc("proximal iterations at most, each step"),
          Real("proximal_tolerance", 0.01).Range(0, 1).Doc("relative move that ends them"),
          Choice("l0_proximal", "two_thirds", {"two_thirds", "l0"})
              .Doc("L0: proximal operator of sum |r|^(2/3), or of the changed pixels")}),
     .norms = {"linf", "l2", "l1", "l0"},
     .traits = {"heuristic"},
     .test_params = {{"steps", 60}, {"dual_lr", 0.5}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<Pdpgd>(params);
    }};

}  // namespace
}  // namespace adamant
