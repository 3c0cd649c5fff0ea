// SPDX-License-Identifier: Apache-2.0
#include "core/run/attack_tables.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"

namespace adamant {
namespace {

constexpr int64_t kMaxMatrixClasses = 32;
constexpr size_t kMaxListed = 10;          // samples of a list
constexpr int64_t kMaxCurvePoints = 2000;  // iterates

using Outcome = v1::SampleOutcome;

// Linear between the neighbours, `sorted` ascending and not empty; infinite values stay so.
double Percentile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(std::floor(at));
  const size_t high = std::min(low + 1, sorted.size() - 1);
  const double part = at - static_cast<double>(low);
  if (part == 0 || sorted[low] == sorted[high]) return sorted[low];
  return sorted[low] + part * (sorted[high] - sorted[low]);
}

template <class Get>
void AddDistances(v1::Norm norm, const std::vector<const Outcome*>& broken, Get get,
                  v1::AttackReport& report) {
  std::vector<double> values;
  for (const Outcome* outcome : broken) values.push_back(static_cast<double>(get(*outcome)));
  if (values.empty()) return;
  std::sort(values.begin(), values.end());
  v1::DistanceBlock& block = *report.add_distances();
  block.set_norm(norm);
  block.set_count(static_cast<int64_t>(values.size()));
  block.set_mean(std::accumulate(values.begin(), values.end(), 0.0) /
                 static_cast<double>(values.size()));
  block.set_median(Percentile(values, 0.5));
  block.set_low(Percentile(values, 0.05));
  block.set_high(Percentile(values, 0.95));
}

void FillDistances(const std::vector<const Outcome*>& broken, v1::AttackReport& report) {
  AddDistances(v1::LINF, broken, [](const Outcome& o) { return o.dist_linf(); }, report);
  AddDistances(v1::L2, broken, [](const Outcome& o) { return o.dist_l2(); }, report);
  AddDistances(v1::L1, broken, [](const Outcome& o) { return o.dist_l1(); }, report);
  AddDistances(v1::L0, broken, [](const Outcome& o) { return o.dist_l0(); }, report);
}

v1::AnalysisTable& AddTable(const std::string& name, const std::vector<std::string>& columns,
                            v1::AttackReport& report) {
  v1::AnalysisTable& table = *report.add_tables();
  table.set_analysis("evaluation");
  table.set_name(name);
  for (const std::string& column : columns) table.add_columns()->set_name(column);
  return table;
}

void Add(double number, v1::TableRow& row) { row.add_cells()->set_number(number); }
void Add(const std::string& text, v1::TableRow& row) { row.add_cells()->set_text(text); }

void FillMatrix(const std::vector<const Outcome*>& broken, int64_t num_classes,
                v1::AttackReport& report) {
  if (broken.empty() || num_classes > kMaxMatrixClasses) return;
  std::vector<int64_t> counts(num_classes * num_classes, 0);
  for (const Outcome* outcome : broken) {
    if (outcome->adv_pred() >= 0) ++counts[outcome->label() * num_classes + outcome->adv_pred()];
  }
  std::vector<std::string> columns = {"label"};
  for (int64_t k = 0; k < num_classes; ++k) columns.push_back(absl::StrCat("as ", k));
  v1::AnalysisTable& table = AddTable("what broken samples are taken for", columns, report);
  for (int64_t y = 0; y < num_classes; ++y) {
    v1::TableRow& row = *table.add_rows();
    Add(absl::StrCat(y), row);
    for (int64_t k = 0; k < num_classes; ++k) {
      Add(static_cast<double>(counts[y * num_classes + k]), row);
    }
  }
}

void AddSamples(const std::string& name, std::vector<const Outcome*> samples,
                v1::AttackReport& report) {
  if (samples.empty()) return;
  v1::AnalysisTable& table = AddTable(
      name, {"sample", "label", "taken for", "broken by", "forwards", "linf", "l2", "margin"},
      report);
  if (samples.size() > kMaxListed) samples.resize(kMaxListed);
  for (const Outcome* outcome : samples) {
    v1::TableRow& row = *table.add_rows();
    Add(absl::StrCat(outcome->sample_id()), row);
    Add(absl::StrCat(outcome->label()), row);
    Add(absl::StrCat(outcome->adv_pred()), row);
    Add(outcome->broken_by(), row);
    Add(static_cast<double>(outcome->forwards()), row);
    Add(outcome->dist_linf(), row);
    Add(outcome->dist_l2(), row);
    Add(outcome->final_margin(), row);
  }
}

// By work and then margin; ties stay in the order of the data.
void FillExtremes(const EvaluationResult& result, std::vector<const Outcome*> broken,
                  v1::AttackReport& report) {
  const auto by_work = [](const Outcome* a, const Outcome* b) {
    return a->forwards() < b->forwards();
  };
  std::stable_sort(broken.begin(), broken.end(), by_work);
  AddSamples("easiest samples: broken with the least work", broken, report);
  std::reverse(broken.begin(), broken.end());
  AddSamples("hardest broken samples: broken with the most work", broken, report);
  std::vector<const Outcome*> robust;
  for (const Outcome& outcome : result.outcomes) {
    if (outcome.state() == v1::ROBUST) robust.push_back(&outcome);
  }
  std::stable_sort(robust.begin(), robust.end(), [](const Outcome* a, const Outcome* b) {
    return a->final_margin() < b->final_margin();
  });
  AddSamples("robust samples nearest to being broken", robust, report);
}

// Ratio of all samples still robust after iterate k: those broken later count as robust until then.
void FillCurve(const InstanceOutcome& outcome, int64_t samples, v1::AttackBlock& block) {
  if (outcome.broken_steps.empty() || samples == 0) return;
  const int64_t last = *std::max_element(outcome.broken_steps.begin(), outcome.broken_steps.end());
  const v1::Accuracy& end =
      block.has_after_accuracy() ? block.after_accuracy() : block.alone_accuracy();
  std::vector<int64_t> at(std::min(last + 1, kMaxCurvePoints), 0);
  for (const int64_t step : outcome.broken_steps) {
    if (step < static_cast<int64_t>(at.size())) ++at[step];
  }
  int64_t left = end.correct() + static_cast<int64_t>(outcome.broken_steps.size());
  for (const int64_t gone : at) {
    left -= gone;
    block.add_accuracy_by_step(static_cast<double>(left) / static_cast<double>(samples));
  }
}

// Of the clean-correct samples, +inf where nothing was found; empty: no minimum-norm attack.
std::vector<double> SmallestDistances(const EvaluationResult& result,
                                      const InstanceOutcome& outcome) {
  std::vector<double> values;
  for (size_t i = 0; i < result.outcomes.size(); ++i) {
    const v1::SampleState state = result.outcomes[i].state();
    if (state != v1::ROBUST && state != v1::BROKEN) continue;
    if (!std::isnan(outcome.min_norm[i])) values.push_back(outcome.min_norm[i]);
  }
  std::sort(values.begin(), values.end());
  return values;
}

void FillMinNorm(const EvaluationResult& result, const std::vector<AttackInstance>& instances,
                 const v1::AttackSpec& spec, v1::AttackReport& report) {
  v1::AnalysisTable table;
  for (size_t i = 0; i < instances.size(); ++i) {
    const std::vector<double> found = SmallestDistances(result, result.instances[i]);
    if (found.empty()) continue;
    // Finite when the distances on both sides of the middle are: a report holds no infinity.
    if (std::isfinite(found[found.size() / 2])) {
      report.mutable_attacks(static_cast<int>(i))->set_median_min_norm(Percentile(found, 0.5));
    }
    for (const double epsilon : spec.attacks(instances[i].position).epsilons()) {
      const auto within = std::upper_bound(found.begin(), found.end(), epsilon) - found.begin();
      v1::TableRow& row = *table.add_rows();
      Add(instances[i].name, row);
      Add(epsilon, row);
      Add(static_cast<double>(within) / static_cast<double>(found.size()), row);
    }
  }
  if (spec.mode() != v1::MIN_NORM) return;
  report.add_notes(
      "mode MIN_NORM: robust accuracy counts the samples for which nothing was found at any "
      "distance; see the distances and the success rates");
  if (table.rows().empty()) return;
  AddTable("success rate of the clean-correct samples at a distance",
           {"attack", "epsilon", "success"}, report)
      .mutable_rows()
      ->Swap(table.mutable_rows());
}

bool Wants(const v1::AttackSpec& spec, v1::AttackOutput output) {
  return std::find(spec.outputs().begin(), spec.outputs().end(), output) != spec.outputs().end();
}

}  // namespace

void FillTables(const EvaluationResult& result, const std::vector<AttackInstance>& instances,
                const v1::AttackSpec& spec, int64_t num_classes, v1::AttackReport& report) {
  std::vector<const Outcome*> broken;
  for (const Outcome& outcome : result.outcomes) {
    if (outcome.state() == v1::BROKEN) broken.push_back(&outcome);
  }
  FillDistances(broken, report);
  FillMinNorm(result, instances, spec, report);
  FillMatrix(broken, num_classes, report);
  FillExtremes(result, broken, report);
  if (!Wants(spec, v1::CURVES)) return;
  for (size_t i = 0; i < instances.size(); ++i) {
    FillCurve(result.instances[i], static_cast<int64_t>(result.outcomes.size()),
              *report.mutable_attacks(static_cast<int>(i)));
  }
}

}  // namespace adamant
