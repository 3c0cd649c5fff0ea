// SPDX-License-Identifier: Apache-2.0
// Accuracy against epsilon, one curve per attack (the figure of PCL, Mustafa et al. 2019, Fig 4).
//
// A sound attack drives the accuracy to chance when the ball holds enough of the image range, and
// its curve never rises. Both are said in the notes where they fail. Each attack runs over one
// ascending grid and alone; an image found at one epsilon counts at every larger one, so a rise can
// only come from a change of the data or the model.
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "core/analyses/analysis.h"

namespace adamant {
namespace {

constexpr double kChanceMarginPct = 2;
constexpr double kRisePct = 1;

const std::vector<double> kSmallEpsilons = {0, .005, .01, .02, .03, .04, .06, .08};
const std::vector<double> kDigitEpsilons = {0,   .05, .1,  .15, .2,  .25, .3,
                                            .35, .4,  .45, .5,  .55, .6};

class EpsilonSweep final : public Analysis {
 public:
  explicit EpsilonSweep(const Params& params)
      : epsilons_(params.RealList("epsilons")), attack_(params.Text("attack")) {}

  absl::StatusOr<AnalysisOutput> Run(const AnalysisInput& input) const override {
    ASSIGN_OR_RETURN(const std::vector<double> epsilons, Epsilons(input.model->info().shape));
    ASSIGN_OR_RETURN(const std::vector<MeasuredAccuracy> found,
                     input.evaluate(Entries(input, epsilons)));
    AnalysisOutput out;
    out.tables.push_back(Table(input, found));
    return out;
  }

 private:
  absl::StatusOr<std::vector<double>> Epsilons(const ModelShape& shape) const {
    if (epsilons_.empty()) return shape.channels == 1 ? kDigitEpsilons : kSmallEpsilons;
    for (size_t i = 1; i < epsilons_.size(); ++i) {
      if (epsilons_[i] <= epsilons_[i - 1]) {
        return absl::InvalidArgumentError("epsilon_sweep.epsilons must ascend");
      }
    }
    if (epsilons_[0] != 0) {
      return absl::InvalidArgumentError("epsilon_sweep.epsilons must start with 0, clean accuracy");
    }
    return epsilons_;
  }

  // The attacks of the job, or the one of the parameter, over the grid.
  std::vector<v1::AttackEntry> Entries(const AnalysisInput& input,
                                       const std::vector<double>& epsilons) const {
    std::vector<v1::AttackEntry> entries = input.attacks;
    if (entries.empty()) {
      v1::AttackEntry& entry = entries.emplace_back();
      entry.mutable_attack()->set_name(attack_);
      entry.mutable_threat()->set_norm(v1::LINF);
    }
    for (v1::AttackEntry& entry : entries) {
      *entry.mutable_epsilons() = {epsilons.begin(), epsilons.end()};
    }
    return entries;
  }

  static v1::AnalysisTable Table(const AnalysisInput& input,
                                 const std::vector<MeasuredAccuracy>& found) {
    v1::AnalysisTable table;
    table.set_analysis("epsilon_sweep");
    table.set_name("epsilon_sweep");
    for (const char* name : {"model", "attack"}) AddColumn(table, name);
    AddColumn(table, "epsilon");
    AddColumn(table, "accuracy_pct", "%");
    AddColumn(table, "lo", "%");
    AddColumn(table, "hi", "%");
    AddColumn(table, "n");
    for (size_t i = 0; i < found.size(); ++i) {
      const MeasuredAccuracy& point = found[i];
      const std::string attack = absl::StrCat(point.position, ":", point.attack.name());
      AddRow(table, {Cell(input.model_name), Cell(attack), Cell(point.epsilon),
                     Cell(100 * point.accuracy.ratio()), Cell(100 * point.accuracy.low()),
                     Cell(100 * point.accuracy.high()),
                     Cell(static_cast<double>(point.accuracy.total()))});
      const bool last = i + 1 == found.size() || found[i + 1].position != point.position;
      const bool first = i == 0 || found[i - 1].position != point.position;
      if (!first) NoteRise(attack, found[i - 1], point, table);
      if (last) NoteChance(attack, point, input.model->info().shape.num_classes, table);
    }
    return table;
  }

  static void NoteRise(const std::string& attack, const MeasuredAccuracy& before,
                       const MeasuredAccuracy& point, v1::AnalysisTable& table) {
    const double rise = 100 * (point.accuracy.ratio() - before.accuracy.ratio());
    if (rise <= kRisePct) return;
    table.add_notes(absl::StrFormat("%s: accuracy rises by %.2f points from epsilon %g to %g",
                                    attack, rise, before.epsilon, point.epsilon));
  }

  static void NoteChance(const std::string& attack, const MeasuredAccuracy& point,
                         int64_t num_classes, v1::AnalysisTable& table) {
    const double chance = 100.0 / static_cast<double>(num_classes);
    const double value = 100 * point.accuracy.ratio();
    if (value <= chance + kChanceMarginPct) return;
    table.add_notes(
        absl::StrFormat("%s: not driven to chance: %.2f %% at epsilon %g, chance is %.2f %%",
                        attack, value, point.epsilon, chance));
  }

  const std::vector<double> epsilons_;
  const std::string attack_;
};

const Registration<Analysis> kEpsilonSweep{
    {.name = "epsilon_sweep",
     .summary = "accuracy against epsilon, one curve per attack",
     .paper = "Mustafa et al. 2019, arXiv 1904.00887, Fig 4",
     .params = {RealList("epsilons", {})
                    .Range(0, 1e6)
                    .Doc("ascending, from 0; empty: 0-0.6 for one channel, else 0-0.08"),
                Text("attack", "pgd").Doc("where the job names no attacks; under LINF")}},
    [](const Params& params) -> std::unique_ptr<Analysis> {
      return std::make_unique<EpsilonSweep>(params);
    }};

}  // namespace
}  // namespace adamant
