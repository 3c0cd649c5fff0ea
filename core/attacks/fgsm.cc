// SPDX-License-Identifier: Apache-2.0
// FGSM (Goodfellow et al. 2015, arXiv 1412.6572):  x' = P(x + epsilon * dir(dL/dx)), where P
// projects onto ball and box and dir is the direction of steepest ascent in the norm: the sign for
// LINF.
//
// step_ll (Kurakin et al. 2017, arXiv 1611.01236) descends towards the least likely class of the
// clean image. r_fgsm (Tramer et al. 2018, arXiv 1705.07204): x_0 = clip(x + a * sign(n)), n
// normal, a = alpha_frac * epsilon, then a step of epsilon - a; "RFGSM" of torchattacks has ten
// steps. Its preset ffgsm (Wong et al. 2020, arXiv 2001.03994) starts uniformly and steps 1.25
// epsilon.
//
// Differs from most libraries: targets are allowed, and a start in the ball (FeatureScatter). The
// result is claimed without a forward pass of its own, so a ROBUST sample costs one forward, one
// backward and the verification of one claim, which is rejected.
#include <utility>

#include "core/attacks/ascent.h"

namespace adamant {
namespace {

class Fgsm final : public Attack {
 public:
  explicit Fgsm(const Params& params) : options_(ParseSearch(params)) {
    if (params.Has("predicted_label")) options_.predicted_label = params.Bool("predicted_label");
    if (!params.Has("target")) options_.target = "least_likely";
    if (params.Has("random_start")) uniform_ = params.Bool("random_start");
    if (!params.Has("alpha_frac")) return;
    uniform_ = params.Text("start") == "uniform";
    sign_reach_ = uniform_ ? 0 : params.Real("alpha_frac");
    step_ = params.Real("step_frac") > 0 ? params.Real("step_frac") : 1 - sign_reach_;
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    Search search(victim, batch, threat, settings, control, options_);
    const Look look = [&](const at::Tensor& x, int64_t, bool) { return search.Gradient(x); };
    for (int64_t restart = 0; restart < options_.restarts; ++restart) {
      if (!search.BeginRestart(restart)) break;
      AscendOnce(search, Start(search, threat.epsilon), step_ * threat.epsilon, look);
    }
    return std::move(search).Result();
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    return LossNotes(options_, num_classes);
  }

 private:
  at::Tensor Start(const Search& search, double epsilon) const {
    if (sign_reach_ == 0) return search.Start(uniform_);
    const at::Tensor& x = search.set().origin();
    const DrawAt at = search.Draw(Purpose::kStart, 0);
    const at::Tensor signs =
        search.DrawEach([&](const Rng& rng, absl::Span<float> out) { rng.Signs(at, out); });
    return search.set().Project(x + sign_reach_ * epsilon * signs);
  }

  SearchOptions options_;
  bool uniform_ = false;   // start anywhere in the ball
  double sign_reach_ = 0;  // start at random signs times this share of epsilon
  double step_ = 1;        // in epsilon
};

std::unique_ptr<Attack> MakeFgsm(const Params& params) { return std::make_unique<Fgsm>(params); }

const Registration<Attack> kFgsm{
    {.name = "fgsm",
     .summary = "one step of the size of epsilon along the gradient's sign",
     .paper = "Goodfellow et al. 2015, arXiv 1412.6572",
     .params = Joined(SearchParams(),
                      {Bool("predicted_label", false)
                           .Doc("ascend away from the predicted class, which leaks no label"),
                       Bool("random_start", false).Doc("start at a random point of the ball")}),
     .norms = {"linf", "l2", "l1"},
     .traits = {"inner_ok"}},
    MakeFgsm};

const Registration<Attack> kStepLl{
    {.name = "step_ll",
     .summary = "one step of the size of epsilon towards the least likely class",
     .paper = "Kurakin et al. 2017, arXiv 1611.01236",
     .params = SearchParams({.chooses_targets = true}),
     .norms = {"linf", "l2"},
     .traits = {"inner_ok"}},
    MakeFgsm};

const Registration<Attack> kRFgsm{
    {.name = "r_fgsm",
     .summary = "a random step, then one gradient step for the rest of epsilon",
     .paper = "Tramer et al. 2018, arXiv 1705.07204",
     .params = Joined(
         SearchParams(),
         {Real("alpha_frac", 0.5).Range(0, 1).Doc("length of the random step in epsilon"),
          Choice("start", "sign", {"sign", "uniform"})
              .Doc("sign: alpha_frac * epsilon times random signs; uniform: anywhere in the ball"),
          Real("step_frac", 0)
              .Range(0, 1e6)
              .Doc("length of the gradient step in epsilon; 0: what the random step leaves")}),
     .presets = {{"ffgsm", {{"start", "uniform"}, {"step_frac", 1.25}}}},
     .norms = {"linf"},
     .traits = {"inner_ok", "heuristic"}},
    MakeFgsm};

}  // namespace
}  // namespace adamant
