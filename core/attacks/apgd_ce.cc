// SPDX-License-Identifier: Apache-2.0
// APGD (Croce and Hein 2020, arXiv 2003.01690), exactly as AutoAttack runs it:
//   z = P(x_i + eta * dir(g_i)),  x_{i+1} = P(x_i + a (z - x_i) + (1 - a)(x_i - x_{i-1})),
// a = 1 in the first step, else 0.75; eta starts at 2 epsilon, x_0 on the surface of the ball.
// At a checkpoint, eta is halved and the search goes back to the best point when at most rho * k of
// the window's k steps raised the loss, or when eta was not halved at the checkpoint before and the
// best loss has not changed since. The first window compares its first loss with 0, as the
// reference does.
//
// Differs from the reference: every iterate is claimed and verified, a broken sample leaves at
// once, and the last gradient is not computed.
#include <algorithm>
#include <utility>

#include "core/attacks/apgd_schedule.h"
#include "core/attacks/search.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kMomentum = 0.75;

// One restart; every tensor has one row per sample in search.
struct Trajectory {
  at::Tensor x, before, best, best_gradient;
  at::Tensor best_loss, checked_loss, last_loss;  // double
  at::Tensor step_size;                           // float
  at::Tensor halved;                              // bool: at the checkpoint before
  at::Tensor rises;                               // int64: in this window
};

class ApgdCe final : public Attack {
 public:
  explicit ApgdCe(const Params& params)
      : options_(ParseSearch(params)), steps_(params.Int("steps")), rho_(params.Real("rho")) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    Search search(victim, batch, threat, settings, control, options_);
    for (int64_t restart = 0; restart < options_.restarts; ++restart) {
      if (!search.BeginRestart(restart)) break;
      RunRestart(search, threat);
    }
    return std::move(search).Result();
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    return LossNotes(options_, num_classes);
  }

 private:
  void RunRestart(Search& search, const ThreatModel& threat) const {
    Trajectory at;
    at.x = search.SurfaceStart();
    LossGradient seen = search.Gradient(at.x);
    search.Observe(at.x, seen, 0);
    if (search.empty()) return;
    Begin(at, seen, threat);
    at::Tensor gradient = seen.gradient;
    const std::vector<int64_t> windows = ApgdWindows(steps_);
    size_t window = 0;
    int64_t in_window = 0;
    for (int64_t step = 1; step <= steps_; ++step) {
      Step(search.set(), threat.norm, gradient, step == 1, at);
      seen = step < steps_ ? search.Gradient(at.x) : search.Loss(at.x);
      search.Observe(at.x, seen, step,
                     {&at.before, &at.best, &at.best_gradient, &at.best_loss, &at.checked_loss,
                      &at.last_loss, &at.step_size, &at.halved, &at.rises});
      if (search.empty()) return;
      if (step == steps_) break;
      gradient = seen.gradient;
      Track(seen, at);
      if (++in_window < windows[window]) continue;
      Checkpoint(windows[window], gradient, at);
      in_window = 0;
      ++window;
    }
    search.EndRestart(at.x, seen.loss);
  }

  // Cross-entropy itself, where its log-odds stand for it: the reference compares it with 0.
  at::Tensor Value(const at::Tensor& loss) const {
    if (options_.loss != "ce" || options_.numerics != Numerics::kStrong) return loss;
    const at::Tensor value = loss.abs().neg().exp().log1p() + loss.clamp_min(0);
    return options_.target == "none" ? value : loss;
  }

  void Begin(Trajectory& at, const LossGradient& seen, const ThreatModel& threat) const {
    at.before = at.x;
    at.best = at.x;
    at.best_gradient = seen.gradient;
    at.best_loss = Value(seen.loss);
    at.checked_loss = at.best_loss;
    at.last_loss = at::zeros_like(at.best_loss);
    at.step_size = at::full({at.x.size(0)}, 2 * threat.epsilon, at.x.options());
    at.halved = at::ones({at.x.size(0)}, at.x.options().dtype(at::kBool));
    at.rises = at::zeros({at.x.size(0)}, at.x.options().dtype(at::kLong));
  }

  static void Step(const FeasibleSet& set, Norm norm, const at::Tensor& gradient, bool first,
                   Trajectory& at) {
    const at::Tensor last_move = at.x - at.before;
    at.before = at.x;
    const double a = first ? 1 : kMomentum;
    const at::Tensor z = set.Project(at.x + PerRow(at.step_size) * StepDirection(norm, gradient));
    at.x = set.Project(at.x + a * (z - at.x) + (1 - a) * last_move);
  }

  void Track(const LossGradient& seen, Trajectory& at) const {
    const at::Tensor loss = Value(seen.loss);
    at.rises = at.rises + (loss > at.last_loss).to(at::kLong);
    at.last_loss = loss;
    const at::Tensor better = loss > at.best_loss;
    at.best_loss = at::where(better, loss, at.best_loss);
    at.best = at::where(PerRow(better), at.x, at.best);
    at.best_gradient = at::where(PerRow(better), seen.gradient, at.best_gradient);
  }

  void Checkpoint(int64_t window, at::Tensor& gradient, Trajectory& at) const {
    const at::Tensor oscillates = at.rises <= rho_ * static_cast<double>(window);
    const at::Tensor stuck = at.halved.logical_not().logical_and(at.best_loss <= at.checked_loss);
    at.halved = oscillates.logical_or(stuck);
    at.checked_loss = at.best_loss;
    at.step_size = at::where(at.halved, at.step_size / 2, at.step_size);
    at.x = at::where(PerRow(at.halved), at.best, at.x);
    gradient = at::where(PerRow(at.halved), at.best_gradient, gradient);
    at.rises = at::zeros_like(at.rises);
  }

  const SearchOptions options_;
  const int64_t steps_;
  const double rho_;
};

const Registration<Attack> kApgdCe{
    {.name = "apgd_ce",
     .summary = "PGD with adaptive step size on cross-entropy, the first stage of AutoAttack",
     .paper = "Croce and Hein 2020, arXiv 2003.01690",
     .params =
         Joined(SearchParams(), {Int("steps", 100).Range(1, 10000).Doc("gradient steps"),
                                 Real("rho", 0.75)
                                     .Range(0.001, 0.999)
                                     .Doc("share of a window's steps that must raise the loss")}),
     .norms = {"linf", "l2"},
     .test_params = {{"steps", 12}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<ApgdCe>(params);
    }};

}  // namespace
}  // namespace adamant
