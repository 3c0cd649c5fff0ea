// SPDX-License-Identifier: Apache-2.0
// JSMA (Papernot et al. 2016, arXiv 1511.07528): at each step the two values (or the one) of
// largest saliency  -(sum dz_t) * (sum of d sum_{j != t} z_j),  where the first factor raises the
// target and the second lowers the rest for a change of sign theta, change by theta, until the
// image is misclassified or the share gamma of the values has changed. Values at their bound are
// left out.
//
// The pairs are searched in blocks, all of them: nothing is cut off by a ranking of single values.
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "core/attacks/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kBlockValues = 1 << 20;

at::Tensor TargetLogit(const at::Tensor& logits, const Aims& aims) {
  return logits.gather(1, aims.targets.unsqueeze(1)).squeeze(1);
}

at::Tensor OtherLogits(const at::Tensor& logits, const Aims& aims) {
  return logits.sum(1) - TargetLogit(logits, aims);
}

// -a b where a > 0 > b, else -infinity.
at::Tensor Saliency(const at::Tensor& a, const at::Tensor& b) {
  return at::where((a > 0).logical_and(b < 0), -a * b, -kInfinity);
}

// Values [M,D] to change: 1, others 0.
at::Tensor BestSingle(const at::Tensor& a, const at::Tensor& b) {
  const auto [score, place] = Saliency(a, b).max(1, /*keepdim=*/true);
  return at::zeros_like(a).scatter_(1, place, (score > -kInfinity).to(a.scalar_type()));
}

at::Tensor BestPair(const at::Tensor& a, const at::Tensor& b) {
  const int64_t n = a.size(0);
  const int64_t size = a.size(1);
  const int64_t block = std::clamp<int64_t>(kBlockValues / std::max<int64_t>(1, n * size), 1, size);
  at::Tensor best = at::full({n, 1}, -kInfinity, a.options());
  at::Tensor first = at::zeros({n, 1}, a.options().dtype(at::kLong));
  at::Tensor second = at::zeros_like(first);
  const at::Tensor index = at::arange(size, first.options());
  for (int64_t begin = 0; begin < size; begin += block) {
    const int64_t count = std::min(block, size - begin);
    const at::Tensor pairs =
        Saliency(a.narrow(1, begin, count).unsqueeze(2) + a.unsqueeze(1),
                 b.narrow(1, begin, count).unsqueeze(2) + b.unsqueeze(1))
            .masked_fill(index.narrow(0, begin, count).unsqueeze(1) >= index, -kInfinity);
    const auto [score, place] = pairs.flatten(1).max(1, /*keepdim=*/true);
    const at::Tensor better = score > best;
    best = at::where(better, score, best);
    first = at::where(better, begin + place.div(size, "floor"), first);
    second = at::where(better, place.remainder(size), second);
  }
  const at::Tensor on = (best > -kInfinity).to(a.scalar_type());
  return at::zeros_like(a).scatter_(1, first, on).scatter_(1, second, on);
}

class Jsma final : public Attack {
 public:
  explicit Jsma(const Params& params)
      : options_(Options(params)),
        theta_(params.Real("theta")),
        gamma_(params.Real("gamma")),
        pairs_(params.Bool("pairs")) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return NothingNear(batch);
    Search search(victim, batch, threat, settings, control, options_);
    search.BeginRestart(0);
    const auto values = static_cast<double>(batch.images[0].numel());
    const auto budget = static_cast<int64_t>(std::floor(gamma_ * values / (pairs_ ? 2 : 1)));
    RunSteps(search, std::max<int64_t>(1, budget));
    return std::move(search).Result();
  }

 private:
  static SearchOptions Options(const Params& params) {
    SearchOptions options = ParseNearest(params, "logit_diff");
    if (options.target == "none") throw std::invalid_argument("jsma needs a target");
    return options;
  }

  void RunSteps(Search& search, int64_t steps) const {
    at::Tensor v = search.Start(false);
    for (int64_t step = 0; step < steps; ++step) {
      RecordedPass pass = search.Record(v);
      const at::Tensor success = search.Misclassified(pass.logits());
      const at::Tensor up = search.Gradient(pass, TargetLogit, /*last=*/false).gradient;
      const at::Tensor rest = search.Gradient(pass, OtherLogits, /*last=*/true).gradient;
      at::Tensor next = Change(search.set().threat(), v, up, rest);
      const at::Tensor settled = search.ObserveNearest(v, success, step, {&next});
      search.KeepOnly(settled.logical_not(), v, {&next});
      if (search.empty()) return;
      v = next;
    }
    search.ObserveNearest(v, search.Misclassified(search.Logits(v)), steps);
  }

  at::Tensor Change(const ThreatModel& threat, const at::Tensor& v, const at::Tensor& up,
                    const at::Tensor& rest) const {
    const double sign = theta_ < 0 ? -1 : 1;
    const at::Tensor free = theta_ < 0 ? v > threat.clip_min : v < threat.clip_max;
    const at::Tensor a = at::where(free, sign * up, -kInfinity).flatten(1);
    const at::Tensor b = (sign * rest).flatten(1);
    const at::Tensor chosen = pairs_ ? BestPair(a, b) : BestSingle(a, b);
    return (v + theta_ * chosen.view_as(v)).clamp_(threat.clip_min, threat.clip_max);
  }

  const SearchOptions options_;
  const double theta_;
  const double gamma_;
  const bool pairs_;
};

const Registration<Attack> kJsma{
    {.name = "jsma",
     .summary = "changes the values of largest saliency one pair after the other",
     .paper = "Papernot et al. 2016, arXiv 1511.07528",
     .params = Joined(NearestParams("rank:1"),
                      {Real("theta", 1).Range(-1, 1).Doc("change of a value"),
                       Real("gamma", 0.1).Range(1e-6, 1).Doc("share of the values that may change"),
                       Bool("pairs", true).Doc("two values at each step")}),
     .norms = {"l0"},
     .traits = {"keeps_graph", "heuristic"}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<Jsma>(params); }};

}  // namespace
}  // namespace adamant
