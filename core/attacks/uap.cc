// SPDX-License-Identifier: Apache-2.0
// One change d for all samples (Moosavi-Dezfooli et al. 2017, arXiv 1610.08401). Passes over the
// set, in groups of samples and in their order, until d is wrong for the share `fooling_rate` of
// it or `passes` are over; a group changes d by
//   deepfool  d := P(d + sum of the smallest changes that take each x + d which is still right over
//             the nearest linearised boundary, in at most `deepfool_steps` steps), or
//   sgd_sign  d := P(d + step_frac epsilon dir(sum of the gradients of cross-entropy at x + d))
//             (Shafahi et al. 2018, arXiv 1811.11304).
// Judged is the d of the last pass alone: what an earlier one broke does not count.
//
// On a LeNet sgd_sign broke about twice as many samples as deepfool, for a tenth of its passes.
//
// Differs from the published code: groups instead of single samples (group_size 1 is the
// published order), no shuffling, and the set that d is made of is the set that is attacked.
#include <algorithm>
#include <utility>

#include "core/attacks/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kTiny = 1e-12;
constexpr double kBeyond = 1e-4;

// Onto the ball around 0; d is [1,C,H,W].
at::Tensor InBall(const ThreatModel& threat, const at::Tensor& d) {
  if (threat.norm == Norm::kLinf) return d.clamp(-threat.epsilon, threat.epsilon);
  const at::Tensor size = RowNorm(Norm::kL2, d).clamp_min(kTiny);
  return d * PerRow((threat.epsilon / size).clamp_max(1).to(d.scalar_type()));
}

at::Tensor Images(const FeasibleSet& set, const at::Tensor& d) {
  return set.Project((set.origin() + d).clamp(set.threat().clip_min, set.threat().clip_max));
}

class Uap final : public Attack {
 public:
  explicit Uap(const Params& params)
      : deepfool_(params.Text("inner") == "deepfool"),
        fooling_rate_(params.Real("fooling_rate")),
        passes_(params.Int("passes")),
        group_size_(params.Int("group_size")),
        deepfool_steps_(params.Int("deepfool_steps")),
        overshoot_(params.Real("overshoot")),
        step_frac_(params.Real("step_frac")) {
    if (deepfool_) options_.target = "rank:1";
    if (deepfool_) options_.loss = "logit_diff";
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    Search search(victim, batch, threat, settings, control, options_);
    at::Tensor d = at::zeros_like(batch.images.narrow(0, 0, 1));
    for (int64_t pass = 0; pass < passes_; ++pass) {
      d = Pass(search, batch.size(), victim.info().shape.num_classes - 1, threat, d);
      search.BeginRestart(0);
      at::Tensor images = Images(search.set(), d);
      LossGradient seen = search.Loss(images);
      if (pass < passes_ - 1 && Wrong(search, seen) < fooling_rate_) {
        search.CountUntested(seen, /*moved=*/true);
        continue;
      }
      search.Observe(images, seen, pass + 1);
      search.EndRestart(images, seen.loss);
      break;
    }
    return std::move(search).Result();
  }

 private:
  at::Tensor Pass(Search& search, int64_t samples, int64_t others, const ThreatModel& threat,
                  at::Tensor d) const {
    for (int64_t begin = 0; begin < samples; begin += group_size_) {
      const int64_t end = std::min(samples, begin + group_size_);
      search.BeginRestart(0, 0, at::arange(begin, end, search.labels().options().dtype(at::kLong)));
      const at::Tensor change = deepfool_ ? SmallestChanges(search, others, d) : Slope(search, d);
      d = InBall(threat, d + change);
    }
    return d;
  }

  static double Wrong(const Search& search, const LossGradient& seen) {
    return (Predictions(seen.logits) != search.aims().labels)
        .logical_and(at::isfinite(seen.loss))
        .to(at::kDouble)
        .mean()
        .item<double>();
  }

  at::Tensor Slope(Search& search, const at::Tensor& d) const {
    const ThreatModel& threat = search.set().threat();
    const LossGradient seen = search.Gradient(Images(search.set(), d));
    return step_frac_ * threat.epsilon *
           StepDirection(threat.norm, seen.gradient.sum(0, /*keepdim=*/true));
  }

  at::Tensor SmallestChanges(Search& search, int64_t others, const at::Tensor& d) const {
    const FeasibleSet& set = search.set();
    const at::Tensor start = (set.origin() + d).clamp(set.threat().clip_min, set.threat().clip_max);
    at::Tensor total = at::zeros_like(start);
    at::Tensor open;
    for (int64_t step = 0; step < deepfool_steps_; ++step) {
      RecordedPass pass = search.Record(
          (start + (1 + overshoot_) * total).clamp_(set.threat().clip_min, set.threat().clip_max));
      const at::Tensor right = search.Misclassified(pass.logits()).logical_not();
      open = open.defined() ? open.logical_and(right) : right;
      if (!open.any().item<bool>()) break;
      total = total + at::where(PerRow(open), Move(search, pass, others, open), 0.0F);
    }
    return (1 + overshoot_) * total.sum(0, /*keepdim=*/true);
  }

  // Onto the nearest plane of any other class.
  static at::Tensor Move(Search& search, RecordedPass& pass, int64_t others,
                         const at::Tensor& wanted) {
    const Norm norm = search.set().threat().norm;
    NearestPlane nearest(norm);
    for (int64_t rank = 1; rank <= others; ++rank) {
      search.AimAt(rank);
      nearest.Offer(search.Gradient(pass, MakeLoss("logit_diff", true, Numerics::kStrong),
                                    /*last=*/rank == others, wanted));
    }
    const Planes& planes = nearest.planes();
    const at::Tensor dual = DualNorm(norm, planes.normal).clamp_min(kTiny);
    const at::Tensor size = planes.excess.abs() / dual + kBeyond;
    if (norm == Norm::kLinf) return PerRow(size.to(at::kFloat)) * planes.normal.sign();
    return PerRow((size / dual).to(at::kFloat)) * planes.normal;
  }

  SearchOptions options_;
  const bool deepfool_;
  const double fooling_rate_;
  const int64_t passes_;
  const int64_t group_size_;
  const int64_t deepfool_steps_;
  const double overshoot_;
  const double step_frac_;
};

const Registration<Attack> kUap{
    {.name = "uap",
     .summary = "one change for all samples",
     .paper = "Moosavi-Dezfooli et al. 2017, arXiv 1610.08401",
     .params =
         {Choice("inner", "sgd_sign", {"sgd_sign", "deepfool"})
              .Doc("how a group of samples changes the common change"),
          Real("fooling_rate", 0.8).Range(0, 1).Doc("share of wrong samples that ends the search"),
          Int("passes", 10).Range(1, 10000).Doc("passes over the set at most"),
          Int("group_size", 16).Range(1, 100000).Doc("samples that change it together"),
          Int("deepfool_steps", 10).Range(1, 10000).Doc("deepfool: steps at most, each time"),
          Real("overshoot", 0.02).Range(0, 1).Doc("deepfool: share to go beyond the boundary"),
          Real("step_frac", 0.1).Range(0, 1).Doc("sgd_sign: step, as a share of epsilon")},
     .norms = {"linf", "l2"},
     .traits = {"whole_set", "universal", "heuristic", "keeps_graph"},
     .test_params = {{"passes", 2}, {"group_size", 8}, {"deepfool_steps", 4}}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<Uap>(params); }};

}  // namespace
}  // namespace adamant
