// SPDX-License-Identifier: Apache-2.0
// A search that spends its passes where they pay (our own; attacks.md 2.9). Round 1 is one
// leaky ascent at each of the few nearest targets; the images nearest to their boundary go on: the
// other targets, a local search from their best point, then further rounds of leaky ascents at the
// two classes that came nearest. What is left of the budget of `passes` forward rows per image goes
// to Square on the nearest images.
//
// Differs from attacks.md 2.9 in the allocation: there every image is tried at all targets, which
// takes half of the budget, and nothing is left for Square.
//
// The gates compare images with each other, so a result depends on which images run together: the
// evaluation gives it cohorts of a fixed size.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/attacks/margin_search.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr int64_t kNearestTargets = 2;
constexpr double kCapFactor = 10;      // of `passes`, for one image
constexpr int64_t kLeastQueries = 50;  // below, Square is not worth its start

// The judge of a part of the batch.
class PartJudge final : public Judge {
 public:
  PartJudge(Judge& whole, at::Tensor rows) : whole_(whole), rows_(std::move(rows)) {}
  at::Tensor Submit(const Claims& claims) override {
    Claims own = claims;
    own.rows = rows_.index_select(0, claims.rows);
    return whole_.Submit(own);
  }

 private:
  Judge& whole_;
  const at::Tensor rows_;
};

class Portfolio final : public Attack {
 public:
  explicit Portfolio(const Params& params)
      : ascent_{params.Real("leak"), params.Int("leak_steps"), params.Int("steps")},
        moves_{params.Int("chains"), params.Int("iterations")},
        passes_(params.Int("passes")),
        rounds_(params.Int("rounds")),
        restarts_(params.Int("restarts")),
        first_targets_(params.Int("first_targets")),
        targets_(params.Int("n_targets")),
        gates_(params.RealList("gates")),
        square_(params.Bool("square")) {
    options_.loss = "logit_diff";
    options_.target = "rank:1";
    options_.early_stop = params.Bool("early_stop");
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    Work work{Search(victim, batch, threat, settings, control, options_),
              Closest(batch, victim.info().shape.num_classes), batch.size(),
              std::min(targets_, victim.info().shape.num_classes - 1)};
    for (int64_t round = 0; round < rounds_; ++round) {
      if (!RunRound(round, work)) break;
    }
    const at::Tensor left = Nearest(work, GateOf(rounds_));
    const int64_t budget = Left(work);
    AttackResult result = std::move(work.search).Result();
    if (square_) RunSquare(victim, batch, threat, settings, control, left, budget, result);
    return result;
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    if (targets_ < num_classes) return {};
    return {absl::StrCat("n_targets ", targets_, " reduced to ", num_classes - 1)};
  }

 private:
  struct Work {
    Search search;
    Closest closest;
    int64_t images;
    int64_t targets;
    uint16_t tries = 0;  // of ascents, for their draws
  };

  int64_t Left(const Work& work) const {
    return passes_ * work.images - work.search.forwards().sum().item<int64_t>();
  }

  double GateOf(int64_t round) const {
    if (gates_.empty()) return 1;
    return gates_[std::min(static_cast<size_t>(round), gates_.size() - 1)];
  }

  // Rows that are not broken and have passes left, nearest first, at most `share` of all images.
  at::Tensor Nearest(const Work& work, double share) const {
    const at::Tensor lead = work.closest.lead().masked_fill(
        work.search.accepted(), -std::numeric_limits<double>::infinity());
    const at::Tensor order = at::argsort(lead, /*stable=*/true, /*dim=*/0, /*descending=*/true);
    const auto most = static_cast<int64_t>(std::ceil(share * static_cast<double>(work.images)));
    const at::Tensor open = work.search.accepted().logical_not().logical_and(
        work.search.forwards() < kCapFactor * static_cast<double>(passes_));
    const at::Tensor kept = order.masked_select(open.index_select(0, order));
    return std::get<0>(kept.narrow(0, 0, std::min(most, kept.size(0))).sort());
  }

  // False when the budget or the images are used up.
  bool RunRound(int64_t round, Work& work) const {
    if (round == 0) {
      for (int64_t rank = 1; rank <= work.targets; ++rank) {
        const at::Tensor rows = Nearest(work, rank <= first_targets_ ? 1 : GateOf(0));
        if (!work.search.BeginRestart(0, rank - 1, rows)) return false;
        work.search.AimAt(rank);
        ascent_.Run(work.search, work.closest);
      }
    } else {
      const at::Tensor rows = Nearest(work, GateOf(round - 1));
      for (int64_t i = 0; i < restarts_ * kNearestTargets; ++i) {
        if (Left(work) < rows.size(0) * ascent_.passes()) return false;
        if (!work.search.BeginRestart(++work.tries, work.targets, rows)) return false;
        work.search.AimAt(work.closest.Target(work.search.rows(), i % kNearestTargets));
        ascent_.Run(work.search, work.closest);
      }
    }
    if (moves_.chains == 0) return true;
    const at::Tensor rows = Nearest(work, GateOf(round));
    if (Left(work) < rows.size(0) * moves_.passes()) return false;
    if (!work.search.BeginRestart(++work.tries, work.targets, rows)) return false;
    moves_.Run(work.search, work.closest);
    return true;
  }

  // Square on the nearest rows, with what is left of the budget shared among them.
  void RunSquare(Victim& victim, const Batch& batch, const ThreatModel& threat,
                 const AttackSettings& settings, const RunControl& control, const at::Tensor& rows,
                 int64_t budget, AttackResult& result) const {
    const int64_t queries =
        rows.size(0) == 0 ? 0 : std::min<int64_t>(5000, budget / rows.size(0) - 1);
    if (queries < kLeastQueries) return;
    v1::PluginSpec spec;
    spec.set_name("square");
    (*spec.mutable_params()->mutable_fields())["queries"].set_number_value(
        static_cast<double>(queries));
    const auto square = MakePlugin<Attack>(spec);
    if (!square.ok()) throw std::logic_error(square.status().ToString());
    AttackSettings part = settings;
    part.stream = absl::StrCat(settings.stream, "/square");
    std::optional<PartJudge> judge;
    if (settings.judge != nullptr) part.judge = &judge.emplace(*settings.judge, rows);
    const auto pick = [&](const at::Tensor& all) {
      return all.defined() ? all.index_select(0, rows.to(all.device())) : all;
    };
    part.clean_logits = pick(settings.clean_logits);
    part.start = pick(settings.start);
    const Batch few{pick(batch.images), pick(batch.labels), pick(batch.ids)};
    const AttackResult found = (*square)->Run(victim, few, threat, part, control);
    Merge(found, rows, result);
  }

  static void Merge(const AttackResult& found, const at::Tensor& rows, AttackResult& result) {
    result.images.index_copy_(0, rows, found.images);
    const auto add = [&](at::Tensor& all, const at::Tensor& part) {
      all.index_add_(0, rows, part);
    };
    add(result.counts.steps, found.counts.steps);
    add(result.counts.forwards, found.counts.forwards);
    add(result.counts.backwards, found.counts.backwards);
    add(result.counts.zero_grads, found.counts.zero_grads);
    add(result.counts.nonfinite_grads, found.counts.nonfinite_grads);
    add(result.counts.nonfinite_logits, found.counts.nonfinite_logits);
  }

  const LeakyAscent ascent_;
  const VertexMoves moves_;
  const int64_t passes_;
  const int64_t rounds_;
  const int64_t restarts_;
  const int64_t first_targets_;
  const int64_t targets_;
  const std::vector<double> gates_;
  const bool square_;
  SearchOptions options_;
};

const Registration<Attack> kPortfolio{
    {.name = "portfolio",
     .summary = "leaky PGD, local search and Square on the images nearest to their boundary",
     .params = {Int("passes", 1000).Range(100, 1e6).Doc("mean budget of forward rows per image"),
                Int("rounds", 4).Range(1, 1000).Doc("at most so many rounds of ascents"),
                RealList("gates", {0.3, 0.08})
                    .Range(0, 1)
                    .Doc("share of the images, nearest first, that goes on after each round; the "
                         "last one repeats"),
                Int("restarts", 8).Range(1, 1000).Doc("ascents at each target, from round 2 on"),
                Int("first_targets", 3).Range(1, 100000).Doc("nearest classes that all images try"),
                Int("n_targets", 9)
                    .Range(1, 100000)
                    .Doc("nearest classes that the images behind the first gate try in round 1"),
                Real("leak", 0.5).Range(0, 1).Doc("largest slope of an inactive ReLU"),
                Int("leak_steps", 20).Range(0, 1000).Doc("steps with leaky ReLUs"),
                Int("steps", 30).Range(1, 100000).Doc("steps with the true gradient"),
                Int("chains", 4).Range(0, 1000).Doc("local searches of an image; 0: none"),
                Int("iterations", 100).Range(1, 65535).Doc("proposals of each local search"),
                Bool("square", true).Doc("spend what is left on Square"),
                Bool("early_stop", true).Doc("broken samples leave the batch")},
     .norms = {"linf"},
     .traits = {"cohorts"},
     .test_params = {{"leak_steps", 3},
                     {"steps", 4},
                     {"restarts", 1},
                     {"rounds", 2},
                     {"chains", 1},
                     {"iterations", 10},
                     {"passes", 200}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<Portfolio>(params);
    }};

}  // namespace
}  // namespace adamant
