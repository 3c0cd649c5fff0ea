// SPDX-License-Identifier: Apache-2.0
// Iterated gradient steps from the clean image, and what was added to them for transfer:
//   q_k = x_k + a mu v_k             nesterov (Lin et al. 2020, arXiv 1908.06281), else x_k
//   g_k = mean_i dL(T(q_k / 2^i))/dq i = 0..scales-1 (the same); T resizes and pads with
//                                    probability `prob` (Xie et al. 2019, arXiv 1803.06978)
//   g_k += u_k,  u_{k+1} = mean_j dL/dx(q_k + r_j) - dL/dx(q_k), r_j ~ U(-beta eps, beta eps)
//                                    (Wang and He 2021, arXiv 2103.15571)
//   g_k = W * g_k                    Gaussian kernel (Dong et al. 2019, arXiv 1904.02884)
//   v_{k+1} = mu v_k + g_k / max(||g_k||_1, 1e-12)    (Dong et al. 2018, arXiv 1710.06081)
//   x_{k+1} = P(x_k + a dir(v_{k+1})),  k = 0..steps-1.
// Every name is a choice of flags: bim (Kurakin et al. 2016, arXiv 1607.02533) has none,
// iter_step_ll (the same) is bim towards the least likely class of the clean image.
//
// Differs from the published code: every iterate is tested, also where gradients are taken
// elsewhere; a sample has its own resize and offsets (torchattacks: one for the batch), drawn among
// sizes that exist, so a range without any is the identity; the norm has a floor (torchattacks
// divides by zero). Neighbours lie around the point that the gradient is taken at, which for
// vni_fgsm is the look-ahead. Gradients that are added to each other are those of cross-entropy
// itself, written relative to the current one, so that they do not underflow.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "core/attacks/expectation.h"
#include "core/attacks/search.h"
#include "core/attacks/transforms.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

struct Flags {
  double mu = 0;
  bool nesterov = false;
  int64_t neighbours = 0;
  double beta = 1.5;
  double prob = 0;
  double resize_low = 0.9;
  int64_t kernel = 1;
  int64_t scales = 1;
};

// What goes from step to step; one row per sample in search.
struct Memory {
  at::Tensor velocity;
  at::Tensor variance;  // in units of the slope that it was computed with
  at::Tensor slope;     // its logarithm, double
};

class Momentum final : public Attack {
 public:
  explicit Momentum(const Params& params)
      : options_(ParseSearch(params)),
        steps_(params.Int("steps")),
        rule_(ParseStepRule(params)),
        kurakin_(params.Has("kurakin_rule") && params.Bool("kurakin_rule")),
        refresh_(params.Has("ll_refresh") && params.Bool("ll_refresh")) {
    StepSize(rule_, {}, steps_, 1);
    if (params.Has("ll_refresh")) options_.target = "least_likely";
    if (!params.Has("mu")) return;
    flags_ = {params.Real("mu"),    params.Bool("nesterov"), params.Int("neighbours"),
              params.Real("beta"),  params.Real("prob"),     params.Real("resize_low"),
              params.Int("kernel"), params.Int("scales")};
    if (flags_.kernel % 2 == 0) throw std::invalid_argument("kernel must be odd");
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    Plan plan{steps_, StepSize(rule_, threat, steps_, settings.step_scale)};
    if (kurakin_) plan = {KurakinSteps(threat.epsilon), 1.0 / 255};
    Search search(victim, batch, threat, settings, control, options_);
    for (int64_t restart = 0; restart < options_.restarts; ++restart) {
      if (!search.BeginRestart(restart)) break;
      RunRestart(search, plan);
    }
    return std::move(search).Result();
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    return LossNotes(options_, num_classes);
  }

 private:
  struct Plan {
    int64_t steps = 0;
    double step_size = 0;
  };

  void RunRestart(Search& search, const Plan& plan) const {
    at::Tensor x = search.Start(false);
    Memory memory;
    for (int64_t step = 0; step < plan.steps; ++step) {
      LossGradient seen;
      at::Tensor point = x;
      if (GradientIsAt(memory)) {
        seen = Gradient(search, x, step);
        search.Observe(x, seen, step, {&memory.velocity, &memory.variance, &memory.slope});
        if (search.empty()) return;
        point = x;
      } else {
        if (!TestApart(search, step, x, memory)) return;
        point = LookAhead(x, memory, plan.step_size);
        seen = Gradient(search, point, step);
      }
      const at::Tensor gradient = Varied(search, point, seen, {step, plan.steps}, memory);
      memory.velocity =
          Accumulated(memory.velocity, GaussianBlur(gradient, flags_.kernel), flags_.mu);
      x = search.set().Project(x + plan.step_size *
                                       StepDirection(search.set().threat().norm, memory.velocity));
    }
    if (!search.wants_last()) return search.EndRestart(x);
    LossGradient seen = search.Loss(x);
    search.Observe(x, seen, plan.steps);
    if (!search.empty()) search.EndRestart(x, seen.loss);
  }

  // Whether the pass that gives the gradient also tests the iterate.
  bool GradientIsAt(const Memory& memory) const {
    return flags_.prob == 0 && !(flags_.nesterov && memory.velocity.defined());
  }

  // False when no row is left. The start is the clean image.
  static bool TestApart(Search& search, int64_t step, at::Tensor& x, Memory& memory) {
    if (step == 0 || !search.wants_last()) return true;
    LossGradient seen = search.Loss(x);
    search.Observe(x, seen, step, {&memory.velocity, &memory.variance, &memory.slope});
    return !search.empty();
  }

  at::Tensor LookAhead(const at::Tensor& x, const Memory& memory, double step_size) const {
    if (!flags_.nesterov || !memory.velocity.defined()) return x;
    return x + step_size * flags_.mu * memory.velocity;
  }

  // The mean over scales, in units of the slope of the first; its loss and logits.
  LossGradient Gradient(Search& search, const at::Tensor& point, int64_t step) const {
    LossGradient seen = Transformed(search, point, step, 0);
    if (flags_.scales == 1) return seen;
    const at::Tensor slope = LossLogSlope(search.options(), seen.loss);
    double scale = 1;
    for (int64_t i = 1; i < flags_.scales; ++i) {
      scale /= 2;
      const LossGradient other = Transformed(search, point * scale, step, i);
      const at::Tensor weight =
          scale * SlopeRatio(LossLogSlope(search.options(), other.loss), slope);
      seen.gradient = seen.gradient + PerRow(weight.to(seen.gradient)) * other.gradient;
    }
    seen.gradient = seen.gradient / static_cast<double>(flags_.scales);
    return seen;
  }

  LossGradient Transformed(Search& search, const at::Tensor& point, int64_t step,
                           int64_t draw) const {
    if (flags_.prob == 0) return Differentiated(search, point);
    const ResizeAndPad transform(
        search.Uniform(4, search.Draw(Purpose::kTransform, step, draw)).to(point.device()),
        point.size(2), point.size(3), flags_.prob, flags_.resize_low);
    LossGradient seen = Differentiated(search, transform.Apply(point));
    seen.gradient = transform.PullBack(seen.gradient);
    return seen;
  }

  LossGradient Differentiated(Search& search, const at::Tensor& point) const {
    if (!refresh_) return search.Gradient(point);
    const auto towards_least_likely = [loss = MakeLoss(options_.loss, true, options_.numerics)](
                                          const at::Tensor& logits, const Aims& aims) {
      return loss(logits, {aims.labels, LeastLikely(logits.detach(), aims.labels)});
    };
    return search.Gradient(point, towards_least_likely);
  }

  // The gradient with the variance of the step before; keeps the variance for the next one.
  at::Tensor Varied(Search& search, const at::Tensor& point, const LossGradient& seen,
                    std::pair<int64_t, int64_t> step_of, Memory& memory) const {
    if (flags_.neighbours == 0) return seen.gradient;
    const at::Tensor slope = LossLogSlope(search.options(), seen.loss);
    at::Tensor gradient = seen.gradient;
    if (memory.variance.defined()) {
      gradient = gradient + PerRow(SlopeRatio(memory.slope, slope).to(gradient)) * memory.variance;
    }
    const auto [step, steps] = step_of;
    if (step + 1 == steps) return gradient;
    const double reach = flags_.beta * search.set().threat().epsilon;
    const int64_t values = point[0].numel();
    at::Tensor sum = at::zeros_like(seen.gradient);
    for (int64_t i = 0; i < flags_.neighbours; ++i) {
      const at::Tensor drawn =
          search.Uniform(values, search.Draw(Purpose::kNoise, step, i)).view_as(point);
      const LossGradient near = Transformed(search, point + reach * (2 * drawn - 1), step, i);
      const at::Tensor weight = SlopeRatio(LossLogSlope(search.options(), near.loss), slope);
      sum = sum + PerRow(weight.to(sum)) * near.gradient;
    }
    memory.variance = sum / static_cast<double>(flags_.neighbours) - seen.gradient;
    memory.slope = slope;
    return gradient;
  }

  SearchOptions options_;
  const int64_t steps_;
  const StepRule rule_;
  const bool kurakin_;
  const bool refresh_;
  Flags flags_;
};

std::unique_ptr<Attack> MakeMomentum(const Params& params) {
  return std::make_unique<Momentum>(params);
}

std::vector<Param> FlagParams(const Flags& flags) {
  return Joined(
      Joined(SearchParams(), StepParams(10, "eps_div_steps")),
      {Real("mu", flags.mu).Range(0, 10).Doc("momentum"),
       Bool("nesterov", flags.nesterov).Doc("take the gradient where the momentum leads to"),
       Int("neighbours", flags.neighbours)
           .Range(static_cast<double>(std::min<int64_t>(flags.neighbours, 1)), 1000)
           .Doc("random neighbours whose mean gradient varies that of the next step"),
       Real("beta", flags.beta).Range(0, 10).Doc("neighbours: their distance in epsilon"),
       Real("prob", flags.prob).Range(0, 1).Doc("share of the gradients at a resized image"),
       Real("resize_low", flags.resize_low)
           .Range(0.5, 1)
           .Doc("prob: smallest size, as a share of the image's"),
       Int("kernel", flags.kernel).Range(1, 31).Doc("width of the Gaussian over gradients, odd"),
       Int("scales", flags.scales).Range(1, 10).Doc("gradients at x, x/2, x/4, ... are averaged")});
}

constexpr char kMomentumPaper[] = "Dong et al. 2018, arXiv 1710.06081";
constexpr char kScalePaper[] = "Lin et al. 2020, arXiv 1908.06281";
constexpr char kVariancePaper[] = "Wang and He 2021, arXiv 2103.15571";

const Registration<Attack> kBim{
    {.name = "bim",
     .summary = "iterated gradient steps from the clean image (basic iterative method)",
     .paper = "Kurakin et al. 2016, arXiv 1607.02533",
     .params =
         Joined(Joined(SearchParams(), StepParams(10, "eps_div_steps")),
                {Bool("kurakin_rule", false)
                     .Doc("steps of 1/255, floor(min(255 eps + 4, 1.25 * 255 eps)) of them")}),
     .norms = {"linf", "l2"},
     .traits = {"inner_ok"}},
    MakeMomentum};

const Registration<Attack> kIterStepLl{
    {.name = "iter_step_ll",
     .summary = "iterated gradient steps towards the least likely class",
     .paper = "Kurakin et al. 2017, arXiv 1611.01236",
     .params = Joined(
         Joined(SearchParams({.chooses_targets = true}), StepParams(10, "eps_div_steps", 10000)),
         {Bool("ll_refresh", false)
              .Doc("the class that is least likely now, not for the clean image")}),
     .norms = {"linf", "l2"},
     .traits = {"inner_ok"}},
    MakeMomentum};

const Registration<Attack> kMiFgsm{
    {.name = "mi_fgsm",
     .summary = "iterated gradient steps with momentum (MIM)",
     .paper = kMomentumPaper,
     .params = FlagParams({.mu = 1}),
     .presets = {{"atda", {{"step_rule", "fraction"}, {"step_frac", 0.2}}}},
     .norms = {"linf", "l2"},
     .traits = {"inner_ok"}},
    MakeMomentum};

const Registration<Attack> kNiFgsm{{.name = "ni_fgsm",
                                    .summary = "mi_fgsm with Nesterov's look-ahead",
                                    .paper = kScalePaper,
                                    .params = FlagParams({.mu = 1, .nesterov = true}),
                                    .norms = {"linf"},
                                    .traits = {"inner_ok"}},
                                   MakeMomentum};

const Registration<Attack> kVmiFgsm{
    {.name = "vmi_fgsm",
     .summary = "mi_fgsm with gradients varied by those of random neighbours",
     .paper = kVariancePaper,
     .params = FlagParams({.mu = 1, .neighbours = 20}),
     .norms = {"linf"},
     .test_params = {{"neighbours", 3}}},
    MakeMomentum};

const Registration<Attack> kVniFgsm{
    {.name = "vni_fgsm",
     .summary = "vmi_fgsm with Nesterov's look-ahead",
     .paper = kVariancePaper,
     .params = FlagParams({.mu = 1, .nesterov = true, .neighbours = 20}),
     .norms = {"linf"},
     .test_params = {{"neighbours", 3}}},
    MakeMomentum};

const Registration<Attack> kDiFgsm{{.name = "di_fgsm",
                                    .summary = "iterated steps with gradients at resized images",
                                    .paper = "Xie et al. 2019, arXiv 1803.06978",
                                    .params = FlagParams({.prob = 0.5}),
                                    .presets = {{"m_di", {{"mu", 1.0}}}},
                                    .norms = {"linf"},
                                    .traits = {"heuristic"}},
                                   MakeMomentum};

const Registration<Attack> kTiFgsm{
    {.name = "ti_fgsm",
     .summary = "iterated steps with gradients smoothed by a Gaussian (translation invariance)",
     .paper = "Dong et al. 2019, arXiv 1904.02884",
     .params = FlagParams({.kernel = 15}),
     .norms = {"linf"},
     .traits = {"heuristic"}},
    MakeMomentum};

const Registration<Attack> kSiFgsm{{.name = "si_fgsm",
                                    .summary = "mi_fgsm with gradients averaged over scales",
                                    .paper = kScalePaper,
                                    .params = FlagParams({.mu = 1, .scales = 5}),
                                    .norms = {"linf"}},
                                   MakeMomentum};

}  // namespace
}  // namespace adamant
