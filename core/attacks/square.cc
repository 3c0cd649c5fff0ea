// SPDX-License-Identifier: Apache-2.0
// Square (Andriushchenko et al. 2020, arXiv 1912.00049), exactly as AutoAttack runs it: random
// search that minimises z_y - max_{j != y} z_j, one window of the image for each query.
//   LINF: starts with vertical stripes; a window moves by +-2 epsilon in each channel, then is cut
//   to the ball and the box. Windows only ever hold corners of the ball, so that a proposal picks
//   the corner.
//   L2, L1: starts with a grid of pyramids; a proposal takes the change out of one window and puts
//   it, with what epsilon leaves, as a pyramid pair into another.
// A proposal stays if it lowers the loss or is misclassified. The share of the image that a window
// covers falls with the iterations (SquareShare).
//
// Differs from the reference: every sample has its own windows and signs instead of one window for
// the batch; a window reaches the last row and column (numerics = reference: it does not); a tie
// that is still correct stays in the search; the proposals are written into the images in place.
#include <utility>

#include "core/attacks/search.h"
#include "core/attacks/square_moves.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr int64_t kScheduleLength = 10000;

class Square final : public Attack {
 public:
  explicit Square(const Params& params)
      : queries_(params.Int("queries")),
        p_init_(params.Real("p_init")),
        restarts_(params.Int("restarts")),
        rescale_(params.Bool("rescale_schedule")),
        reference_(params.Text("numerics") == "reference") {}

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    Search search(victim, batch, threat, settings, control,
                  {.loss = "margin", .keep = Keep::kBestLoss, .restarts = restarts_});
    const auto moves = MakeSquareMoves(batch, threat, search, /*exclusive=*/reference_);
    for (int64_t restart = 0; restart < restarts_; ++restart) {
      if (!search.BeginRestart(restart)) break;
      RunRestart(search, *moves);
    }
    return std::move(search).Result();
  }

 private:
  double Share(int64_t iteration) const {
    return SquareShare(p_init_, rescale_ ? iteration * kScheduleLength / queries_ : iteration);
  }

  void RunRestart(Search& search, SquareMoves& moves) const {
    at::Tensor images = moves.Start(search);
    LossGradient seen = search.Loss(images);
    search.Observe(images, seen, 0);
    if (search.empty()) return;
    at::Tensor best = seen.loss;
    for (int64_t query = 1; query <= queries_; ++query) {
      moves.Propose(search, query, Share(query - 1), images);
      seen = search.Loss(images);
      search.Observe(images, seen, query, {&best});
      if (search.empty()) return;
      const at::Tensor wrong =
          reference_ ? seen.loss >= 0
                     : (Predictions(seen.logits) != search.labels()).logical_and(seen.loss >= 0);
      moves.Settle(search, (seen.loss > best).logical_or(wrong), images);
      best = at::maximum(best, seen.loss);
    }
  }

  const int64_t queries_;
  const double p_init_;
  const int64_t restarts_;
  const bool rescale_;
  const bool reference_;
};

const Registration<Attack> kSquare{
    {.name = "square",
     .summary =
         "random search with square windows, without gradients: the last stage of AutoAttack",
     .paper = "Andriushchenko et al. 2020, arXiv 1912.00049",
     .params = {Int("queries", 5000).Range(1, 1000000).Doc("proposals after the start"),
                Real("p_init", 0.8).Range(1e-6, 1).Doc("share of the image in the first windows"),
                Int("restarts", 1).Range(1, 1000).Doc("independent tries"),
                Bool("rescale_schedule", false)
                    .Doc("fit the window schedule, made for 10000 queries, to `queries`"),
                Choice("numerics", "strong", {"strong", "reference"})
                    .Doc("reference: windows leave the last row and column out")},
     .norms = {"linf", "l2", "l1"},
     .traits = {"forward_only"},
     .test_params = {{"queries", 60}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<Square>(params);
    }};

}  // namespace
}  // namespace adamant
