// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/run_counters.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace adamant {
namespace {

constexpr int64_t kDefaultBatch = 128;  // AUTO
constexpr int64_t kMaxWindow = 1000;    // steps between two reports
constexpr double kMaxTotal = 1e15;      // a worker is not trusted with more
constexpr size_t kMaxTotals = 128;
constexpr char kSamples[] = "attack_samples.";
constexpr char kSuccesses[] = "attack_successes.";
constexpr char kQueries[] = "attack_gradient_queries.";
constexpr char kMaps[] = "explain_maps";

std::string DatasetFamily(const v1::TrainSpec& spec) {
  return spec.train().has_builtin() ? spec.train().builtin().name() : "other";
}

void CountSteps(const v1::TrainSpec& spec, int64_t steps, Metrics& metrics) {
  const int64_t batch = spec.batch_size() > 0 ? spec.batch_size() : kDefaultBatch;
  if (steps > 0) metrics.TrainSteps(DatasetFamily(spec), steps, steps * batch);
}

// Maps are computed for all explainers in turn.
void CountMaps(const v1::ExplainSpec& spec, int64_t maps, Metrics& metrics) {
  for (const v1::PluginSpec& explainer : spec.explainers())
    metrics.ExplainMaps(explainer.name(), maps / spec.explainers_size());
}

}  // namespace

void RunCounters::Take(const v1::JobSpec& spec, int attempt, const v1::MetricEvent& event,
                       Metrics& metrics) {
  const bool new_attempt = attempt != attempt_;
  if (new_attempt) {
    // Without its first attempt the job was there before this process: its past is not counted.
    if (attempt_ == 0 && attempt > 1 && !event.points().empty()) steps_ = event.points(0).step();
    attempt_ = attempt;
    totals_.clear();
  }
  for (const v1::MetricPoint& point : event.points()) {
    latest_[point.name()] = point.value();
    TakeTotal(spec, point.name(), point.value(), metrics);
  }
  if (spec.has_train()) TakeTraining(spec.train(), event, new_attempt, metrics);
}

void RunCounters::TakeTraining(const v1::TrainSpec& spec, const v1::MetricEvent& event,
                               bool new_attempt, Metrics& metrics) {
  int64_t step = last_step_;
  for (const v1::MetricPoint& point : event.points())
    step = new_attempt ? point.step() : std::max(step, point.step());
  // A resumed attempt does not say where it began.
  const int64_t window = new_attempt && attempt_ > 1 ? 1 : std::min(step - last_step_, kMaxWindow);
  last_step_ = step;
  for (const v1::MetricPoint& point : event.points()) {
    absl::string_view phase = point.name();
    if (!absl::ConsumeSuffix(&phase, "_seconds")) continue;
    metrics.TrainStepSeconds(phase, phase == "checkpoint" ? 1 : window, point.value());
  }
  CountSteps(spec, step - steps_, metrics);
  steps_ = std::max(steps_, step);
}

void RunCounters::TakeTotal(const v1::JobSpec& spec, const std::string& name, double total,
                            Metrics& metrics) {
  absl::string_view attack = name;
  const bool samples = absl::ConsumePrefix(&attack, kSamples);
  const bool successes = !samples && absl::ConsumePrefix(&attack, kSuccesses);
  const bool queries = !samples && !successes && absl::ConsumePrefix(&attack, kQueries);
  const bool maps = spec.has_explain() && name == kMaps;
  if (!samples && !successes && !queries && !maps) return;
  if (totals_.size() >= kMaxTotals && totals_.count(name) == 0) return;
  const auto now = static_cast<int64_t>(std::clamp(total, 0.0, kMaxTotal));
  const int64_t before = std::exchange(totals_[name], std::max(now, totals_[name]));
  const int64_t more = now - before;
  if (samples) metrics.AttackSamples(attack, more, 0);
  if (successes) metrics.AttackSamples(attack, 0, more);
  if (queries) metrics.AttackGradientQueries(attack, more);
  if (maps && more > 0) CountMaps(spec.explain(), more, metrics);
}

void RunCounters::Finish(const v1::JobSpec& spec, const v1::JobReport& report, Metrics& metrics) {
  if (spec.has_train()) CountSteps(spec.train(), report.train().steps() - steps_, metrics);
  std::map<std::string, int64_t> totals;
  for (const v1::AttackBlock& block : report.attack().attacks()) {
    const std::string& attack = block.attack().name();
    totals[kSamples + attack] += block.attacked();
    totals[kSuccesses + attack] += block.broken();
    totals[kQueries + attack] += block.backwards();
  }
  if (report.has_explain()) {
    totals[kMaps] = report.explain().num_maps();
    metrics.ExplainSeconds(report.explain().seconds());
  }
  for (const auto& [name, total] : totals)
    TakeTotal(spec, name, static_cast<double>(total), metrics);
}

}  // namespace adamant
