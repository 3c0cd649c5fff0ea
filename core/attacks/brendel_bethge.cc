// SPDX-License-Identifier: Apache-2.0
// Brendel et al. 2019 (arXiv 1907.01003): onto the decision boundary, then along it to the point
// nearest to x. With m = z_y - max_{j != y} z_j and b the average of its gradient (ratio
// `momentum`), each step solves
//   min_s ||v + s - x||_p   so that  b.s = c,  ||s||_2 <= r_k,  0 <= v + s <= 1,
// c = -overshoot m - 1e-5 ||b||_2 where v is not adversarial, else -(2 - overshoot) m, and
// r_k = lr D lr_decay^(number of decays so far), D the number of values.
//
// Differs from Foolbox: it starts at x, not at a misclassified noise image from which a binary
// search leads to the boundary (`start_draws` > 0 does that, with random images of blend.h): on a
// LeNet the boundary that lies behind noise is a tenth farther away. The 1e-5, without which
// rounding leaves v on the near side. The radius counts one image's values, not the batch's. The
// step is found by nested bisection instead of BFGS on the dual. Untargeted only.
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/attacks/blend.h"
#include "core/attacks/follow_rows.h"
#include "core/attacks/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

// Distance that float32 tells from none at every pixel.
constexpr double kBeyond = 1e-5;

at::Tensor Steps(const FeasibleSet& set, const at::Tensor& v, const at::Tensor& normal,
                 const at::Tensor& rise, double radius) {
  const auto host = [](const at::Tensor& t) { return t.to(at::kCPU).contiguous(); };
  const at::Tensor clean = host(set.origin());
  const at::Tensor point = host(v);
  const at::Tensor plane = host(normal);
  const at::Tensor rises = host(rise);
  at::Tensor out = at::empty_like(point);
  const int64_t n = point.size(0);
  const int64_t size = n > 0 ? point.numel() / n : 0;
  FollowSolver solver(size);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = i * size;
    const FollowRow row{.clean = clean.data_ptr<float>() + at,
                        .point = point.data_ptr<float>() + at,
                        .normal = plane.data_ptr<float>() + at,
                        .rise = rises.data_ptr<double>()[i],
                        .radius = radius,
                        .low = set.threat().clip_min,
                        .high = set.threat().clip_max};
    float* step = out.data_ptr<float>() + at;
    set.threat().norm == Norm::kL2 ? solver.StepL2(row, step) : solver.StepLinf(row, step);
  }
  return out.to(v.device());
}

class BrendelBethge final : public Attack {
 public:
  explicit BrendelBethge(const Params& params)
      : steps_(params.Int("steps")),
        overshoot_(params.Real("overshoot")),
        rate_(params.Real("lr")),
        decay_(params.Real("lr_decay")),
        decays_(params.Int("lr_num_decay")),
        momentum_(params.Real("momentum")),
        halvings_(params.Int("binary_search_steps")),
        draws_(params.Int("start_draws")) {
    options_.loss = "margin";
    options_.early_stop = params.Bool("stop_at_eps");
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return NothingNear(batch);
    Search search(victim, batch, threat, settings, control, options_);
    search.BeginRestart(0);
    at::Tensor v = search.Start(false);
    if (draws_ > 0) {
      v = RandomMisclassified(search, draws_);
      if (!search.empty()) v = OntoBoundary(search, v, halvings_, threat.norm == Norm::kLinf);
    }
    if (!search.empty()) Follow(search, v);
    return std::move(search).Result();
  }

 private:
  void Follow(Search& search, at::Tensor v) const {
    const auto values = static_cast<double>(v.numel() / v.size(0));
    const int64_t period = std::max<int64_t>(1, steps_ / decays_);
    at::Tensor normal;
    for (int64_t step = 1; step <= steps_; ++step) {
      const LossGradient seen = search.Gradient(v);
      at::Tensor margin = -seen.loss.nan_to_num(0, 0, 0);
      normal =
          normal.defined() ? momentum_ * normal - (1 - momentum_) * seen.gradient : -seen.gradient;
      search.ObserveNearest(v, search.Misclassified(seen.logits), step - 1, {&normal, &margin});
      if (search.empty()) return;
      const double radius =
          rate_ * values * std::pow(decay_, static_cast<double>((step + 1) / period));
      const at::Tensor beyond = overshoot_ * margin + kBeyond * RowNorm(Norm::kL2, normal);
      const at::Tensor rise = -at::where(margin >= 0, beyond, (2 - overshoot_) * margin);
      const ThreatModel& threat = search.set().threat();
      v = (v + Steps(search.set(), v, normal, rise, radius))
              .clamp_(threat.clip_min, threat.clip_max);
    }
    search.ObserveNearest(v, search.Misclassified(search.Logits(v)), steps_);
  }

  SearchOptions options_;
  const int64_t steps_;
  const double overshoot_;
  const double rate_;
  const double decay_;
  const int64_t decays_;
  const double momentum_;
  const int64_t halvings_;
  const int64_t draws_;
};

const Registration<Attack> kBrendelBethge{
    {.name = "brendel_bethge",
     .summary = "along the decision boundary to its nearest point",
     .paper = "Brendel et al. 2019, arXiv 1907.01003",
     .params =
         {Int("steps", 1000).Range(1, 100000).Doc("gradient steps along the boundary"),
          Real("overshoot", 1.1).Range(0, 2).Doc("how far a step aims beyond the boundary"),
          Real("lr", 1e-3).Range(1e-9, 1e3).Doc("first trust radius, per value of the image"),
          Real("lr_decay", 0.5).Range(1e-9, 1).Doc("factor of the radius at each decay"),
          Int("lr_num_decay", 20).Range(1, 100000).Doc("decays of the radius"),
          Real("momentum", 0.8).Range(0, 0.9999).Doc("weight of the past in the boundary's normal"),
          Int("binary_search_steps", 10)
              .Range(1, 100)
              .Doc("halvings from the start to the boundary"),
          Int("start_draws", 0)
              .Range(0, 10000)
              .Doc("random images to start from, all evaluated; 0: the clean image"),
          Bool("stop_at_eps", true).Doc("a sample leaves when it is inside the threat model")},
     .norms = {"linf", "l2"},
     .traits = {"heuristic"},
     .test_params = {{"steps", 20}, {"start_draws", 4}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<BrendelBethge>(params);
    }};

}  // namespace
}  // namespace adamant
