// SPDX-License-Identifier: Apache-2.0
// FGSM (Goodfellow et al. 2015, arXiv 1412.6572):  x' = P(x + epsilon * dir(dL/dx)), where P
// projects onto ball and box and dir is the direction of steepest ascent in the norm: the sign for
// LINF.
//
// Differs from most libraries: targets are allowed, and a start in the ball (FeatureScatter). The
// result is claimed without a forward pass of its own, so a ROBUST sample costs one forward, one
// backward and the verification of one claim, which is rejected.
#include <utility>

#include "core/attacks/search.h"

namespace adamant {
namespace {

class Fgsm final : public Attack {
 public:
  explicit Fgsm(const Params& params)
      : options_(ParseSearch(params)), random_start_(params.Bool("random_start")) {
    options_.predicted_label = params.Bool("predicted_label");
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    Search search(victim, batch, threat, settings, control, options_);
    for (int64_t restart = 0; restart < options_.restarts; ++restart) {
      if (!search.BeginRestart(restart)) break;
      at::Tensor x = search.Start(random_start_);
      LossGradient seen = search.Gradient(x);
      search.Observe(x, seen, 0);
      if (search.empty()) continue;
      const at::Tensor step = threat.epsilon * StepDirection(threat.norm, seen.gradient);
      search.ClaimAll(search.set().Project(x + step), 1);
    }
    return std::move(search).Result();
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    return LossNotes(options_, num_classes);
  }

 private:
  SearchOptions options_;
  bool random_start_;
};

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
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<Fgsm>(params); }};

}  // namespace
}  // namespace adamant
