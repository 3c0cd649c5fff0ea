// SPDX-License-Identifier: Apache-2.0
// Best of many random points: no information about the model, so a model that falls to it, or more
// often than to a gradient attack, is not what its report says. For draw k = 0..draws-1:
//   uniform    a uniform point of the ball (L1: a Laplace direction, see FeasibleSet);
//   sign       the same size for every value with a random sign, of norm epsilon;
//   gaussian   normal values whose typical norm is epsilon, projected;
//   sphere     a point on the ball's surface: LINF a uniform draw scaled to a largest change of
//              epsilon, L2 a uniform direction, L1 a Laplace direction.
// salt_pepper (L0): floor(epsilon) random pixels become black or white.
//
// Differs from the Python libraries, which test one draw: the draws are independent tries.
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/attacks/search.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

// E|n| of a standard normal.
constexpr double kMeanSize = 0.7978845608028654;

class RandomNoise final : public Attack {
 public:
  RandomNoise(const Params& params, std::string distribution)
      : draws_(params.Int("draws")), distribution_(std::move(distribution)) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    Search search(victim, batch, threat, settings, control,
                  {.loss = "margin", .keep = Keep::kBestLoss});
    for (int64_t draw = 0; draw < draws_ && !search.empty(); ++draw) {
      at::Tensor images = Drawn(search, settings, search.Draw(Purpose::kNoise, draw));
      LossGradient seen = search.Loss(images);
      search.Observe(images, seen, draw);
    }
    return std::move(search).Result();
  }

 private:
  at::Tensor Drawn(const Search& search, const AttackSettings& settings, const DrawAt& at) const {
    const FeasibleSet& set = search.set();
    const Norm norm = set.threat().norm;
    if (distribution_ == "salt_pepper") return SaltAndPepper(search, settings, at);
    if (distribution_ == "uniform") {
      return RandomStart(set, search.ids(), settings.seed, settings.stream, at);
    }
    if (distribution_ == "sphere" && norm != Norm::kL1) {
      return adamant::SurfaceStart(set, search.ids(), settings.seed, settings.stream, at);
    }
    const at::Tensor change =
        DrawRows(set.origin(), search.ids(), settings.seed, settings.stream,
                 [&](const Rng& rng, absl::Span<float> out) { Fill(rng, at, norm, out); });
    return set.Project(set.origin() + set.threat().epsilon * change);
  }

  // A change of norm 1, exactly or typically.
  void Fill(const Rng& rng, const DrawAt& at, Norm norm, absl::Span<float> out) const {
    if (distribution_ == "sphere") return FillLaplace(rng, at, out);
    const auto values = static_cast<double>(out.size());
    double size = norm == Norm::kL2 ? std::sqrt(values) : norm == Norm::kL1 ? values : 1;
    if (distribution_ == "sign") {
      rng.Signs(at, out);
    } else {
      rng.Normal(at, out);
      if (norm == Norm::kL1) size *= kMeanSize;
    }
    for (float& value : out) value = static_cast<float>(value / size);
  }

  static void FillLaplace(const Rng& rng, DrawAt at, absl::Span<float> out) {
    std::vector<float> signs(out.size());
    rng.UniformOpen(at, out);
    at.draw = 1;
    rng.Signs(at, absl::MakeSpan(signs));
    double sum = 0;
    for (const float value : out) sum -= std::log(static_cast<double>(value));
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = static_cast<float>(-signs[i] * std::log(static_cast<double>(out[i])) / sum);
    }
  }

  static at::Tensor SaltAndPepper(const Search& search, const AttackSettings& settings,
                                  const DrawAt& at) {
    const at::Tensor& x = search.set().origin();
    const ThreatModel& threat = search.set().threat();
    const int64_t pixels = x.size(2) * x.size(3);
    const int64_t chosen = std::min(static_cast<int64_t>(threat.epsilon), pixels);
    // 0 where a pixel stays, else the sign of its new colour.
    const at::Tensor marks = DrawRows(x.select(1, 0), search.ids(), settings.seed, settings.stream,
                                      [&](const Rng& rng, absl::Span<float> out) {
                                        std::vector<int64_t> order(static_cast<size_t>(pixels));
                                        rng.Permutation(at, absl::MakeSpan(order));
                                        DrawAt colours = at;
                                        colours.draw = 1;
                                        std::vector<float> signs(static_cast<size_t>(chosen));
                                        rng.Signs(colours, absl::MakeSpan(signs));
                                        std::fill(out.begin(), out.end(), 0.0F);
                                        for (size_t i = 0; i < signs.size(); ++i)
                                          out[order[i]] = signs[i];
                                      });
    const at::Tensor mark = marks.unsqueeze(1);
    const at::Tensor coloured = at::where(mark > 0, threat.clip_max, threat.clip_min).to(x.dtype());
    return at::where(mark == 0, x, coloured);
  }

  const int64_t draws_;
  const std::string distribution_;
};

Param Draws() { return Int("draws", 100).Range(1, 1000000).Doc("independent tries"); }

const Registration<Attack> kRandomNoise{
    {.name = "random_noise",
     .summary = "best of many random points of the ball",
     .params = {Draws(),
                Choice("distribution", "uniform", {"uniform", "sign", "gaussian", "sphere"})
                    .Doc("of a draw: see the head of the file")},
     .norms = {"linf", "l2", "l1"},
     .traits = {"forward_only"},
     .test_params = {{"draws", 40}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<RandomNoise>(params, params.Text("distribution"));
    }};

const Registration<Attack> kSaltPepper{
    {.name = "salt_pepper",
     .summary = "random pixels become black or white, best of many draws",
     .params = {Draws()},
     .norms = {"l0"},
     .traits = {"forward_only"},
     .test_params = {{"draws", 40}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<RandomNoise>(params, "salt_pepper");
    }};

}  // namespace
}  // namespace adamant
