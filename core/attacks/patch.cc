// SPDX-License-Identifier: Apache-2.0
// Adversarial patch (Brown et al. 2017, arXiv 1712.09665), one for each image and without a norm: a
// square of `share` of the image, trained to fool at random places:
//   p_{k+1} = clip(p_k + step_size * sign(mean over `eot` places of dL/dp)),
// L the untargeted or targeted loss. Each step's first place is tested.
//
// Differs from the paper: one patch for one image instead of for many, neither scaled nor rotated.
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/attacks/search.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

class Patch final : public Attack {
 public:
  explicit Patch(const Params& params)
      : options_(ParseSearch(params)),
        steps_(params.Int("steps")),
        eot_(params.Int("eot")),
        share_(params.Real("share")),
        step_size_(params.Real("step_size")) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    const ThreatModel box{Norm::kLinf, threat.clip_max - threat.clip_min, threat.clip_min,
                          threat.clip_max};
    if (NothingToSearch(victim, batch, box)) return Unchanged(batch);
    Search search(victim, batch, box, settings, control, options_);
    for (int64_t restart = 0; restart < options_.restarts; ++restart) {
      if (!search.BeginRestart(restart)) break;
      RunRestart(search, settings);
    }
    return std::move(search).Result();
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    return LossNotes(options_, num_classes);
  }

 private:
  int64_t Side(const at::Tensor& x) const {
    const double pixels = share_ * static_cast<double>(x.size(2) * x.size(3));
    return std::clamp<int64_t>(std::lround(std::sqrt(pixels)), 1, std::min(x.size(2), x.size(3)));
  }

  // Where the patch's pixels lie, int64 [M,C,side*side] into planes.
  at::Tensor Places(const Search& search, const AttackSettings& settings, int64_t side,
                    const DrawAt& at) const {
    const at::Tensor& x = search.set().origin();
    const int64_t width = x.size(3);
    const at::Tensor u = DrawRows(
        at::empty({x.size(0), 2}, x.options()), search.ids(), settings.seed, settings.stream,
        [&](const Rng& rng, absl::Span<float> out) { rng.Uniform(at, out); });
    const at::Tensor top = (u.select(1, 0) * (x.size(2) - side + 1)).to(at::kLong);
    const at::Tensor left = (u.select(1, 1) * (width - side + 1)).to(at::kLong);
    const at::Tensor inside = at::arange(side * side, top.options());
    const at::Tensor offset =
        inside.div(side, "floor") * width + inside.remainder(side);  // [side*side]
    return ((top * width + left).unsqueeze(1) + offset)
        .unsqueeze(1)
        .expand({x.size(0), x.size(1), side * side});
  }

  static at::Tensor Paste(const at::Tensor& x, const at::Tensor& places, const at::Tensor& patch) {
    return x.flatten(2).scatter(2, places, patch).view(x.sizes());
  }

  void RunRestart(Search& search, const AttackSettings& settings) const {
    const ThreatModel& box = search.set().threat();
    const int64_t side = Side(search.set().origin());
    at::Tensor patch = FirstPatch(search, settings, side);
    for (int64_t step = 0; step < steps_; ++step) {
      at::Tensor places = Places(search, settings, side, search.Draw(Purpose::kTransform, step));
      at::Tensor image = Paste(search.set().origin(), places, patch);
      LossGradient seen = search.Gradient(image);
      search.Observe(image, seen, step, {&patch, &places});
      if (search.empty()) return;
      at::Tensor gradient = seen.gradient.flatten(2).gather(2, places);
      for (int64_t draw = 1; draw < eot_; ++draw) {
        places = Places(search, settings, side, search.Draw(Purpose::kTransform, step, draw));
        seen = search.Gradient(Paste(search.set().origin(), places, patch));
        gradient = gradient + seen.gradient.flatten(2).gather(2, places);
      }
      patch = (patch + step_size_ * gradient.sign()).clamp(box.clip_min, box.clip_max);
    }
    const at::Tensor places =
        Places(search, settings, side, search.Draw(Purpose::kTransform, steps_));
    at::Tensor image = Paste(search.set().origin(), places, patch);
    if (!search.wants_last()) return search.EndRestart(image);
    LossGradient seen = search.Loss(image);
    search.Observe(image, seen, steps_);
    if (!search.empty()) search.EndRestart(image, seen.loss);
  }

  static at::Tensor FirstPatch(const Search& search, const AttackSettings& settings, int64_t side) {
    const at::Tensor& x = search.set().origin();
    const ThreatModel& box = search.set().threat();
    const DrawAt at = search.Draw(Purpose::kStart, 0);
    const at::Tensor u = DrawRows(
        at::empty({x.size(0), x.size(1), side * side}, x.options()), search.ids(), settings.seed,
        settings.stream, [&](const Rng& rng, absl::Span<float> out) { rng.Uniform(at, out); });
    return box.clip_min + (box.clip_max - box.clip_min) * u;
  }

  const SearchOptions options_;
  const int64_t steps_;
  const int64_t eot_;
  const double share_;
  const double step_size_;
};

const Registration<Attack> kPatch{
    {.name = "patch",
     .summary = "a square anywhere on the image, trained over random places",
     .paper = "Brown et al. 2017, arXiv 1712.09665",
     .params = Joined(SearchParams(),
                      {Int("steps", 100).Range(1, 100000).Doc("gradient steps"),
                       Real("step_size", 0.05).Range(0, 1).Doc("pixel units"),
                       Real("share", 0.05).Range(0.001, 1).Doc("share of the image's pixels"),
                       Int("eot", 10).Range(1, 1000).Doc("random places for one gradient")}),
     .traits = {"no_ball"},
     .test_params = {{"steps", 6}, {"eot", 2}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<Patch>(params);
    }};

}  // namespace
}  // namespace adamant
