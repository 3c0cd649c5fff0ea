// SPDX-License-Identifier: Apache-2.0
// PGD (Madry et al. 2018, arXiv 1706.06083):  x_0 = x or a random point of the ball,
//   v_{k+1} = mu * v_k + g_k / max(||g_k||_1, 1e-12)   (mu = 0: v_{k+1} = g_k),
//   x_{k+1} = P(x_k + a * dir(v_{k+1})),  g_k = dL/dx at x_k,  k = 0..steps-1.
//
// Differs from torchattacks, advertorch, Foolbox and ART: every iterate is tested, not the last
// one alone; a restart sees only the samples that are left; the worst case is taken per sample.
#include <utility>

#include "core/attacks/search.h"

namespace adamant {
namespace {

class Pgd final : public Attack {
 public:
  explicit Pgd(const Params& params)
      : options_(ParseSearch(params)),
        steps_(params.Int("steps")),
        rule_{params.Text("step_rule"), params.Real("step_size"), params.Real("step_frac")},
        random_start_(params.Bool("random_start")),
        momentum_(params.Real("mu")),
        sparsity_(params.Real("sparsity")) {
    StepSize(rule_, {}, steps_, 1);
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    const double step_size = StepSize(rule_, threat, steps_, settings.step_scale);
    Search search(victim, batch, threat, settings, control, options_);
    for (int64_t restart = 0; restart < options_.restarts; ++restart) {
      if (!search.BeginRestart(restart)) break;
      RunRestart(search, threat.norm, step_size);
    }
    return std::move(search).Result();
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    return LossNotes(options_, num_classes);
  }

 private:
  void RunRestart(Search& search, Norm norm, double step_size) const {
    at::Tensor x = search.Start(random_start_);
    at::Tensor velocity;
    for (int64_t step = 0; step < steps_; ++step) {
      LossGradient seen = search.Gradient(x);
      search.Observe(x, seen, step, {&velocity});
      if (search.empty()) return;
      velocity = Accumulate(velocity, seen.gradient);
      x = search.set().Project(x + step_size * StepDirection(norm, velocity, sparsity_));
    }
    if (!search.wants_last()) return search.EndRestart(x);
    LossGradient seen = search.Loss(x);
    search.Observe(x, seen, steps_);
    if (!search.empty()) search.EndRestart(x, seen.loss);
  }

  at::Tensor Accumulate(const at::Tensor& velocity, const at::Tensor& gradient) const {
    if (momentum_ == 0) return gradient;
    const at::Tensor unit = gradient / PerRow(RowSum(gradient.abs()).clamp_min(1e-12));
    return velocity.defined() ? momentum_ * velocity + unit : unit;
  }

  const SearchOptions options_;
  const int64_t steps_;
  const StepRule rule_;
  const bool random_start_;
  const double momentum_;
  const double sparsity_;
};

const Registration<Attack> kPgd{
    {.name = "pgd",
     .summary = "projected gradient descent",
     .paper = "Madry et al. 2018, arXiv 1706.06083",
     .params = Joined(
         SearchParams(),
         {Int("steps", 40).Range(1, 100000).Doc("gradient steps"),
          Real("step_size", 0).Range(0, 1).Doc("pixel units; 0: by step_rule"),
          Choice("step_rule", "madry", {"fixed", "eps_div_steps", "madry", "fraction"})
              .Doc("epsilon/steps, 2.5*epsilon/steps or step_frac*epsilon; fixed: step_size"),
          Real("step_frac", 0.1).Range(0, 1e6).Doc("share of epsilon, for step_rule fraction"),
          Bool("random_start", true).Doc("start at a random point of the ball"),
          Real("mu", 0).Range(0, 10).Doc("momentum"),
          Real("sparsity", 0.1).Range(0, 1).Doc("share of values that an L1 step changes")}),
     .presets = {{"pgd7_fm", {{"steps", 7.0}, {"step_size", 2.0 / 255}, {"random_start", true}}},
                 {"pgd40_mnist", {{"steps", 40.0}, {"step_size", 0.01}}},
                 {"pgd200_px256",
                  {{"steps", 200.0}, {"step_size", 1.0 / 256}, {"random_start", false}}},
                 {"pgd10_pcl", {{"steps", 10.0}, {"step_rule", "fraction"}, {"step_frac", 0.1}}},
                 {"pgd10_pcl_code",
                  {{"steps", 10.0}, {"step_size", 2.0 / 255}, {"random_start", false}}},
                 {"pgd20_at", {{"steps", 20.0}}},
                 {"pgd50_at", {{"steps", 50.0}}},
                 {"pgd100_at", {{"steps", 100.0}}}},
     .norms = {"linf", "l2", "l1", "l0"},
     .traits = {"inner_ok"},
     .test_params = {{"steps", 10}}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<Pgd>(params); }};

}  // namespace
}  // namespace adamant
