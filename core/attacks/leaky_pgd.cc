// SPDX-License-Identifier: Apache-2.0
// PGD whose backward pass lets some gradient through inactive ReLUs at first, so that units which
// are off can be switched on (our own; attacks.md 2.9). Loss z_t - z_y for each of `n_targets`
// targets, from a random point each; see LeakyAscent for the schedule. leak = 0 is an ordinary PGD.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/attacks/margin_search.h"

namespace adamant {
namespace {

class LeakyPgd final : public Attack {
 public:
  explicit LeakyPgd(const Params& params)
      : ascent_{params.Real("leak"), params.Int("leak_steps"), params.Int("steps")},
        targets_(params.Int("n_targets")) {
    options_.loss = "logit_diff";
    options_.target = "rank:1";
    options_.restarts = params.Int("restarts");
    options_.early_stop = params.Bool("early_stop");
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (NothingToSearch(victim, batch, threat)) return Unchanged(batch);
    Search search(victim, batch, threat, settings, control, options_);
    const int64_t num_classes = victim.info().shape.num_classes;
    Closest closest(batch, num_classes);
    for (int64_t restart = 0; restart < options_.restarts; ++restart) {
      for (int64_t rank = 1; rank <= std::min(targets_, num_classes - 1); ++rank) {
        if (!search.BeginRestart(restart, rank - 1)) return std::move(search).Result();
        search.AimAt(rank);
        ascent_.Run(search, closest);
      }
    }
    return std::move(search).Result();
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    if (targets_ < num_classes) return {};
    return {absl::StrCat("n_targets ", targets_, " reduced to ", num_classes - 1)};
  }

 private:
  const LeakyAscent ascent_;
  const int64_t targets_;
  SearchOptions options_;
};

const Registration<Attack> kLeakyPgd{
    {.name = "leaky_pgd",
     .summary = "targeted PGD with gradients through inactive ReLUs in its first steps",
     .params = {Int("leak_steps", 20).Range(0, 1000).Doc("steps with leaky ReLUs"),
                Real("leak", 0.5).Range(0, 1).Doc("largest slope of an inactive ReLU"),
                Int("steps", 30).Range(1, 100000).Doc("steps with the true gradient"),
                Int("n_targets", 9).Range(1, 100000).Doc("nearest classes to aim at"),
                Int("restarts", 1).Range(1, 1000).Doc("independent tries"),
                Bool("early_stop", true).Doc("broken samples leave the batch")},
     .norms = {"linf"},
     .test_params = {{"leak_steps", 3}, {"steps", 4}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<LeakyPgd>(params);
    }};

}  // namespace
}  // namespace adamant
