// SPDX-License-Identifier: Apache-2.0
// EAD (Chen et al. 2018, arXiv 1709.04114): FISTA on
//   c * max(0, z_y - max_{j != y} z_j + kappa) + ||v - x||_2^2 + beta ||v - x||_1,
//   v_{k+1} = S_beta(y_k - lr_k * gradient of the smooth part at y_k),  lr_k = lr sqrt(1 - k/N),
//   y_{k+1} = v_{k+1} + k / (k + 3) (v_{k+1} - v_k),
// where S_beta moves every change by beta towards 0 and clips to the box; c as in cw_l2.
//
// Differs from the reference: y is clipped to the box before the model sees it, and of the
// adversarial images the nearest in the norm of the threat model is kept (under L1 that is its L1
// rule; its elastic-net rule has no threat model).
#include <cmath>
#include <utility>

#include "core/attacks/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

class Ead final : public Attack {
 public:
  explicit Ead(const Params& params)
      : options_(ParseNearest(params, "margin")),
        learning_rate_(params.Real("lr")),
        searches_(params.Int("binary_search_steps")),
        iterations_(params.Int("max_iterations")),
        initial_(params.Real("initial_const")),
        kappa_(params.Real("kappa")),
        beta_(params.Real("beta")) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return NothingNear(batch);
    Search search(victim, batch, threat, settings, control, options_);
    TradeOff trade_off(batch.images, initial_, searches_);
    for (int64_t number = 0; number < searches_; ++number) {
      if (!search.BeginRestart(number)) break;
      RunSearch(search, trade_off);
      trade_off.Update(number);
    }
    return std::move(search).Result();
  }

 private:
  void RunSearch(Search& search, TradeOff& trade_off) const {
    at::Tensor v = search.Start(false);
    at::Tensor y = v;
    at::Tensor constant = trade_off.Constants(search.rows());
    for (int64_t step = 0; step < iterations_ && !search.empty(); ++step) {
      const at::Tensor next = Shrink(search.set(), y - Rate(step) * Slope(search, y, constant));
      const auto k = static_cast<double>(step);
      y = (next + k / (k + 3) * (next - v)).clamp_(0, 1);
      v = next;
      const at::Tensor logits = search.Logits(v);
      const at::Tensor success =
          search.Misclassified(logits).logical_and(Reaches(search.aims(), logits, kappa_));
      trade_off.Succeeded(search.rows(), success);
      search.ObserveNearest(v, success, step + 1, {&y, &constant});
    }
  }

  double Rate(int64_t step) const {
    return learning_rate_ *
           std::sqrt(1 - static_cast<double>(step) / static_cast<double>(iterations_));
  }

  // Gradient of the smooth part at y.
  at::Tensor Slope(Search& search, const at::Tensor& y, const at::Tensor& constant) const {
    const LossGradient seen = search.Gradient(y);
    const at::Tensor active = (seen.loss < kappa_).to(at::kFloat) * constant;
    return 2 * (y - search.set().origin()) - PerRow(active) * seen.gradient;
  }

  at::Tensor Shrink(const FeasibleSet& set, const at::Tensor& z) const {
    const at::Tensor change = z - set.origin();
    const at::Tensor kept = (change.abs() - beta_).clamp_min(0) * change.sign();
    return (set.origin() + kept).clamp_(set.threat().clip_min, set.threat().clip_max);
  }

  const SearchOptions options_;
  const double learning_rate_;
  const int64_t searches_;
  const int64_t iterations_;
  const double initial_;
  const double kappa_;
  const double beta_;
};

const Registration<Attack> kEad{
    {.name = "ead",
     .summary = "elastic-net attack: sparse changes by FISTA on L1 and L2",
     .paper = "Chen et al. 2018, arXiv 1709.04114",
     .params =
         Joined(NearestParams(),
                {Real("lr", 0.01).Range(1e-5, 1).Doc("first learning rate"),
                 Int("binary_search_steps", 9).Range(1, 20).Doc("searches for the constant c"),
                 Int("max_iterations", 1000).Range(1, 10000).Doc("steps of each search"),
                 Real("initial_const", 1e-3).Range(1e-6, 1e10).Doc("first constant c"),
                 Real("kappa", 0).Range(0, 1000).Doc("margin that counts as success"),
                 Real("beta", 1e-3).Range(0, 1).Doc("weight of the L1 distance")}),
     .norms = {"l2", "l1"},
     .traits = {"heuristic"},
     .test_params = {{"max_iterations", 8}, {"binary_search_steps", 2}, {"initial_const", 10}}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<Ead>(params); }};

}  // namespace
}  // namespace adamant
