// SPDX-License-Identifier: Apache-2.0
// Local search between the vertices of the LINF ball from a random point (our own; attacks.md 2.9);
// see VertexMoves. Mostly forward passes: one gradient every 25 iterations.
#include "core/attacks/margin_search.h"

namespace adamant {
namespace {

class VertexSearch final : public Attack {
 public:
  explicit VertexSearch(const Params& params)
      : moves_{params.Int("chains"), params.Int("iterations")} {
    options_.loss = "margin";
    options_.restarts = params.Int("restarts");
    options_.early_stop = params.Bool("early_stop");
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    Search search(victim, batch, threat, settings, control, options_);
    for (int64_t restart = 0; restart < options_.restarts; ++restart) {
      if (!search.BeginRestart(restart)) break;
      Closest closest(batch, victim.info().shape.num_classes);
      at::Tensor start = search.Start(/*random=*/true);
      LossGradient seen = search.Loss(start);
      closest.Update(search, start, seen.logits);
      search.Observe(start, seen, 0);
      if (!search.empty()) moves_.Run(search, closest);
      if (!search.empty()) search.EndRestart(closest.images().index_select(0, search.rows()));
    }
    return std::move(search).Result();
  }

 private:
  const VertexMoves moves_;
  SearchOptions options_;
};

const Registration<Attack> kVertexSearch{
    {.name = "vertex_search",
     .summary = "local search between vertices of the ball, guided by the gradient's sign",
     .params = {Int("chains", 4).Range(1, 1000).Doc("independent searches of an image"),
                Int("iterations", 100).Range(1, 65535).Doc("proposals of each chain"),
                Int("restarts", 1).Range(1, 1000).Doc("independent starts"),
                Bool("early_stop", true).Doc("broken samples leave the batch")},
     .norms = {"linf"},
     .traits = {"heuristic"},
     .test_params = {{"chains", 2}, {"iterations", 30}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<VertexSearch>(params);
    }};

}  // namespace
}  // namespace adamant
