// SPDX-License-Identifier: Apache-2.0
// DeepFool (Moosavi-Dezfooli et al. 2016, arXiv 1511.04599): for the `candidates` most likely
// classes k of the clean image,  w_k = d(z_k - z_y)/dx,  f_k = z_k - z_y  at v; the nearest plane,
// |f_k| / ||w_k||_q, adds to the change
//   r_tot += (|f| / ||w||_2 + 1e-4) w / ||w||_2   (LINF: (|f| / ||w||_1 + 1e-4) sign w),
// and v = clip(x + (1 + overshoot) r_tot), until v is misclassified.
//
// Differs from torchattacks and adv-lib, which apply the overshoot at every step, and from ART,
// which scales by the clip range: it is applied once, to the sum, as published.
#include <algorithm>
#include <utility>

#include "core/attacks/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kTiny = 1e-12;
constexpr double kBeyond = 1e-4;

SearchOptions Options(const Params& params) {
  SearchOptions options;
  options.loss = "logit_diff";
  options.target = "rank:1";
  options.early_stop = params.Bool("stop_at_eps");
  return options;
}

class DeepFool final : public Attack {
 public:
  explicit DeepFool(const Params& params)
      : options_(Options(params)),
        steps_(params.Int("steps")),
        overshoot_(params.Real("overshoot")),
        candidates_(params.Int("candidates")) {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return NothingNear(batch);
    Search search(victim, batch, threat, settings, control, options_);
    search.BeginRestart(0);
    RunSteps(search, std::min(candidates_, victim.info().shape.num_classes) - 1);
    return std::move(search).Result();
  }

 private:
  void RunSteps(Search& search, int64_t others) const {
    at::Tensor v = search.Start(false);
    at::Tensor total = at::zeros_like(v);
    for (int64_t step = 0; step < steps_; ++step) {
      RecordedPass pass = search.Record(v);
      const at::Tensor success = search.Misclassified(pass.logits());
      const at::Tensor move = Move(search, pass, others, success.logical_not());
      // A success that the judge refuses goes further the same way.
      total = at::where(PerRow(success), total * (1 + overshoot_) + total.sign() * kBeyond,
                        total + move);
      const at::Tensor settled = search.ObserveNearest(v, success, step, {&total});
      search.KeepOnly(settled.logical_not(), v, {&total});
      if (search.empty()) return;
      const FeasibleSet& set = search.set();
      v = (set.origin() + (1 + overshoot_) * total)
              .clamp_(set.threat().clip_min, set.threat().clip_max);
    }
    search.ObserveNearest(v, search.Misclassified(search.Logits(v)), steps_);
  }

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

  const SearchOptions options_;
  const int64_t steps_;
  const double overshoot_;
  const int64_t candidates_;
};

const Registration<Attack> kDeepFool{
    {.name = "deepfool",
     .summary = "steps onto the nearest linearised boundary",
     .paper = "Moosavi-Dezfooli et al. 2016, arXiv 1511.04599",
     .params =
         {Int("steps", 50).Range(1, 100000).Doc("steps at most"),
          Real("overshoot", 0.02).Range(0, 1).Doc("share that the change goes beyond"),
          Int("candidates", 10)
              .Range(2, 100000)
              .Doc("most likely clean classes, the label among them"),
          Bool("stop_at_eps", true).Doc("a sample leaves when it is inside the threat model")},
     .norms = {"linf", "l2"},
     .traits = {"keeps_graph"},
     .test_params = {{"steps", 10}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<DeepFool>(params);
    }};

}  // namespace
}  // namespace adamant
