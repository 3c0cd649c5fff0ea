// SPDX-License-Identifier: Apache-2.0
// The straight line from x to a random image of another class:  v = (1 - s) x + s u,  u the nearest
// misclassified of `directions` random images (blend.h), s by bisection.
//
// Differs from Foolbox's blended noise: bisection instead of 1000 steps along the line, so that
// every sample costs the same. u is drawn, not taken from the data set: an attack sees no images
// but those it attacks, and its result must not depend on which others are among them.
#include <utility>

#include "core/attacks/blend.h"
#include "core/attacks/nearest.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

class LinearBlend final : public Attack {
 public:
  explicit LinearBlend(const Params& params)
      : directions_(params.Int("directions")), halvings_(params.Int("binary_search_steps")) {
    options_.loss = "margin";
    options_.early_stop = params.Bool("stop_at_eps");
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return NothingNear(batch);
    Search search(victim, batch, threat, settings, control, options_);
    search.BeginRestart(0);
    const at::Tensor far = RandomMisclassified(search, directions_);
    if (!search.empty()) OntoBoundary(search, far, halvings_, /*clamp=*/false);
    return std::move(search).Result();
  }

 private:
  SearchOptions options_;
  const int64_t directions_;
  const int64_t halvings_;
};

const Registration<Attack> kLinearBlend{
    {.name = "linear_blend",
     .summary = "blends each image with a random one of another class",
     .params =
         {Int("directions", 20).Range(1, 10000).Doc("random images to blend with, all evaluated"),
          Int("binary_search_steps", 20).Range(1, 100).Doc("halvings of the way between the two"),
          Bool("stop_at_eps", true).Doc("a sample leaves when it is inside the threat model")},
     .norms = {"linf", "l2", "l1"},
     .traits = {"forward_only", "heuristic"},
     .test_params = {{"directions", 4}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<LinearBlend>(params);
    }};

}  // namespace
}  // namespace adamant
