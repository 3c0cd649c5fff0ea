// SPDX-License-Identifier: Apache-2.0
// FAB (Croce and Hein 2020b, arXiv 1907.02044), exactly as AutoAttack runs it. At v, with
// df = z_s - z_y and w = d df / dx, the boundary is taken for the hyperplane w.u = w.v - df:
//   d1, d2 = smallest changes of v and of x onto it (plane.h),
//   a = min(||d1|| / (||d1|| + ||d2||), alpha_max),
//   v := clip((1 - a)(v + eta d1) + a (x + eta d2));
// where v is then adversarial it is kept if it is nearest to x so far, and v := x + beta (v - x).
// fab_t takes one target s after the other by clean rank; fab takes, at each step, the class whose
// hyperplane is nearest, |df| / ||w||_q.
//
// Differs from the reference: input gradients only; no sorting; one forward pass tells the label
// and, where v is not adversarial, gives the next gradient; a sample leaves when it is inside the
// threat model; the tolerance of a claim instead of a strict bound.
#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/attacks/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kTiny = 1e-12;
constexpr double kSmallestMove = 1e-8;

// z_c - z_y, where c is the `slot`-th class but the label.
LossFunction LeadOf(int64_t slot) {
  return [slot](const at::Tensor& logits, const Aims& aims) {
    const at::Tensor label = aims.labels.unsqueeze(1);
    const at::Tensor other = slot + (label <= slot).to(at::kLong);
    return (logits.gather(1, other) - logits.gather(1, label)).squeeze(1);
  };
}

// A gradient of the points in question; `last` when no other will be taken of them.
using GradientOf = std::function<LossGradient(const LossFunction& loss, bool last)>;

SearchOptions Options(const Params& params, bool targeted) {
  SearchOptions options;
  options.loss = targeted ? "logit_diff" : "margin";
  options.target = targeted ? "rank:1" : "none";
  options.restarts = params.Int("restarts");
  options.early_stop = params.Bool("stop_at_eps");
  return options;
}

class Fab final : public Attack {
 public:
  Fab(const Params& params, bool targeted)
      : options_(Options(params, targeted)),
        targeted_(targeted),
        targets_(targeted ? params.Int("n_targets") : 1),
        steps_(params.Int("steps")),
        alpha_max_(params.Real("alpha_max")),
        eta_(params.Real("eta")),
        beta_(params.Real("beta")) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return NothingNear(batch);
    const int64_t num_classes = victim.info().shape.num_classes;
    Search search(victim, batch, threat, settings, control, options_);
    for (int64_t target = 1; target <= std::min(targets_, num_classes - 1); ++target) {
      if (targeted_) search.AimAt(target);
      for (int64_t restart = 0; restart < options_.restarts; ++restart) {
        if (!search.BeginRestart(restart, target - 1)) break;
        RunRestart(search, num_classes, Start(search, settings, restart));
      }
    }
    return std::move(search).Result();
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    if (targets_ < num_classes) return {};
    return {absl::StrCat("fab_t tried ", num_classes - 1, " targets: the model has ", num_classes,
                         " classes")};
  }

 private:
  static at::Tensor Start(const Search& search, const AttackSettings& settings, int64_t restart) {
    if (restart == 0) return search.Start(false);
    const FeasibleSet& set = search.set();
    const Norm norm = set.threat().norm;
    const at::Tensor drawn =
        DrawRows(set.origin(), search.ids(), settings.seed, settings.stream,
                 [&](const Rng& rng, absl::Span<float> out) {
                   const DrawAt at = search.Draw(Purpose::kStart, 0);
                   norm == Norm::kLinf ? rng.Uniform(at, out) : rng.Normal(at, out);
                 });
    const at::Tensor t = norm == Norm::kLinf ? 2 * drawn - 1 : drawn;
    const at::Tensor radius = search.nearest().clamp_max(set.threat().epsilon) / 2;
    const at::Tensor scale = radius / RowNorm(norm, t).clamp_min(kTiny);
    return (set.origin() + PerRow(scale.to(t.scalar_type())) * t)
        .clamp_(set.threat().clip_min, set.threat().clip_max);
  }

  Planes FindPlanes(Norm norm, int64_t num_classes, const GradientOf& gradient) const {
    NearestPlane nearest(norm);
    if (targeted_) {
      nearest.Offer(gradient(MakeLoss("logit_diff", true, Numerics::kStrong), true));
      return nearest.planes();
    }
    for (int64_t slot = 0; slot < num_classes - 1; ++slot) {
      nearest.Offer(gradient(LeadOf(slot), slot == num_classes - 2));
    }
    return nearest.planes();
  }

  void RunRestart(Search& search, int64_t num_classes, at::Tensor v) const {
    const Norm norm = search.set().threat().norm;
    RecordedPass pass = search.Record(v);
    at::Tensor crossed = search.Misclassified(pass.logits());
    Planes planes = FindPlanes(norm, num_classes, [&](const LossFunction& loss, bool last) {
      return search.Gradient(pass, loss, last);
    });
    search.ObserveNearest(v, crossed, 0, {&planes.normal, &planes.excess});
    for (int64_t step = 1; step <= steps_ && !search.empty(); ++step) {
      v = Move(search.set(), v, planes);
      if (step == steps_) {
        search.ObserveNearest(v, search.Misclassified(search.Logits(v)), step);
        break;
      }
      pass = search.Record(v);
      crossed = search.Misclassified(pass.logits());
      const at::Tensor inside = crossed.logical_not();
      planes = FindPlanes(norm, num_classes, [&](const LossFunction& loss, bool last) {
        return search.Gradient(pass, loss, last, inside);
      });
      search.ObserveNearest(v, crossed, step, {&planes.normal, &planes.excess, &crossed});
      TurnBack(search, num_classes, crossed, v, planes);
    }
  }

  at::Tensor Move(const FeasibleSet& set, const at::Tensor& v, const Planes& planes) const {
    const ThreatModel& threat = set.threat();
    const at::Tensor& x = set.origin();
    const Planes of_clean{planes.normal,
                          planes.excess + RowSum((planes.normal * (x - v)).to(at::kDouble))};
    const at::Tensor d1 = ChangeOntoPlanes(threat, v, planes);
    const at::Tensor d2 = ChangeOntoPlanes(threat, x, of_clean);
    const at::Tensor size1 = RowNorm(threat.norm, d1).clamp_min(kSmallestMove);
    const at::Tensor size2 = RowNorm(threat.norm, d2).clamp_min(kSmallestMove);
    const at::Tensor a =
        PerRow((size1 / (size1 + size2)).clamp_max(alpha_max_).to(v.scalar_type()));
    return ((v + eta_ * d1) * (1 - a) + (x + eta_ * d2) * a)
        .clamp_(threat.clip_min, threat.clip_max);
  }

  // The rows that crossed the boundary go back towards the clean image and get planes there.
  void TurnBack(Search& search, int64_t num_classes, const at::Tensor& crossed, at::Tensor& v,
                Planes& planes) const {
    const at::Tensor some = crossed.nonzero().squeeze(1);
    if (some.size(0) == 0) return;
    const FeasibleSet& set = search.set();
    v = at::where(PerRow(crossed), set.origin() + beta_ * (v - set.origin()), v);
    RecordedPass pass = search.RecordExtra(some, v.index_select(0, some));
    const Planes there =
        FindPlanes(set.threat().norm, num_classes, [&](const LossFunction& loss, bool last) {
          return search.GradientExtra(pass, some, loss, last);
        });
    planes.normal = planes.normal.index_copy(0, some, there.normal);
    planes.excess = planes.excess.index_copy(0, some, there.excess);
  }

  const SearchOptions options_;
  const bool targeted_;
  const int64_t targets_;
  const int64_t steps_;
  const double alpha_max_;
  const double eta_;
  const double beta_;
};

std::vector<Param> CommonParams() {
  return {
      Int("steps", 100).Range(1, 100000).Doc("projection steps"),
      Int("restarts", 1).Range(1, 1000).Doc("tries; all but the first start at random"),
      Real("alpha_max", 0.1).Range(0, 1e6).Doc("largest weight of the clean image's projection"),
      Real("eta", 1.05).Range(0, 1e6).Doc("overshoot of a projection"),
      Real("beta", 0.9).Range(0, 1e6).Doc("share of the way that an adversarial point keeps"),
      Bool("stop_at_eps", true).Doc("a sample leaves when it is inside the threat model")};
}

const Registration<Attack> kFab{
    {.name = "fab",
     .summary = "smallest change by projections onto the nearest linearised boundary",
     .paper = "Croce and Hein 2020, arXiv 1907.02044",
     .params = CommonParams(),
     .norms = {"linf", "l2", "l1"},
     .traits = {"keeps_graph"},
     .test_params = {{"steps", 10}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<Fab>(params, /*targeted=*/false);
    }};

const Registration<Attack> kFabT{
    {.name = "fab_t",
     .summary = "FAB towards one class after the other, the third stage of AutoAttack",
     .paper = "Croce and Hein 2020, arXiv 1907.02044",
     .params = Joined(CommonParams(), {Int("n_targets", 9)
                                           .Range(1, 100000)
                                           .Doc("most likely classes that are tried, at most "
                                                "all but the label")}),
     .norms = {"linf", "l2", "l1"},
     .traits = {"keeps_graph"},
     .test_params = {{"steps", 10}, {"n_targets", 4}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<Fab>(params, /*targeted=*/true);
    }};

}  // namespace
}  // namespace adamant
