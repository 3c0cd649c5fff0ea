// SPDX-License-Identifier: Apache-2.0
#include "core/run/evaluation_state.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace adamant {
namespace {

constexpr double kFragileMargin = 1e-4;

// Whether an image found for `earlier` counts for `later` too.
bool Covers(const ThreatModel& earlier, const ThreatModel& later) {
  return earlier.norm != later.norm || earlier.epsilon <= later.epsilon;
}

void SetImageFields(const Verification& found, v1::SampleOutcome& outcome) {
  outcome.set_adv_pred(static_cast<int32_t>(found.decision.predicted));
  outcome.set_final_margin(found.decision.margin);
  outcome.set_fragile(std::abs(found.decision.margin) < kFragileMargin);
  outcome.set_dist_linf(found.distances.linf);
  outcome.set_dist_l2(found.distances.l2);
  outcome.set_dist_l1(found.distances.l1);
  outcome.set_dist_l0(found.distances.l0);
}

}  // namespace

EvaluationState::EvaluationState(int64_t size, const std::vector<AttackInstance>& instances,
                                 const EvaluationOptions& options)
    : instances_(instances),
      cascade_(options.cascade),
      nearest_(options.nearest),
      most_queries_(options.stop.queries()) {
  for (const AttackInstance& instance : instances) any_ball_ |= !instance.no_ball;
  result_.outcomes.resize(size);
  result_.instance_of.assign(size, -1);
  result_.images.resize(size);
  result_.instances.resize(instances.size());
  for (InstanceOutcome& outcome : result_.instances) {
    outcome.min_norm.assign(size, std::numeric_limits<double>::quiet_NaN());
  }
  hit_.assign(instances.size(), std::vector<bool>(size, false));
}

void EvaluationState::TakeClean(int64_t position, int64_t sample_id, int64_t label,
                                const Decision& clean) {
  v1::SampleOutcome& outcome = result_.outcomes[position];
  outcome.set_sample_id(sample_id);
  outcome.set_label(static_cast<int32_t>(label));
  outcome.set_clean_pred(static_cast<int32_t>(clean.predicted));
  outcome.set_clean_margin(clean.margin);
  outcome.set_target(-1);
  SetImageFields({.decision = clean}, outcome);
  outcome.set_state(!clean.finite              ? v1::ERROR
                    : clean.predicted == label ? v1::ROBUST
                                               : v1::CLEAN_WRONG);
  robust_ += outcome.state() == v1::ROBUST;
}

bool EvaluationState::CarriesOver(const AttackInstance& earlier,
                                  const AttackInstance& later) const {
  const bool same_entry = earlier.position == later.position;
  if (earlier.no_ball || later.no_ball) return same_entry;
  return (cascade_ || same_entry) && Covers(earlier.threat, later.threat);
}

// Whether the sample is not robust under instance `index`, as far as instances up to it know.
bool EvaluationState::Broken(int index, int64_t position) const {
  for (int i = 0; i <= index; ++i) {
    if (hit_[i][position] && (i == index || CarriesOver(instances_[i], instances_[index]))) {
      return true;
    }
  }
  return false;
}

std::vector<int64_t> EvaluationState::Open(int index) const {
  std::vector<int64_t> open;
  for (int64_t p = 0; p < static_cast<int64_t>(result_.outcomes.size()); ++p) {
    const v1::SampleOutcome& outcome = result_.outcomes[p];
    if (outcome.state() != v1::ROBUST && outcome.state() != v1::BROKEN) continue;
    if (most_queries_ > 0 && outcome.forwards() >= most_queries_) continue;
    if (!Broken(index, p)) open.push_back(p);
  }
  return open;
}

void EvaluationState::AddCounts(const AttackRecord& record, InstanceOutcome& totals) {
  v1::SampleOutcome& outcome = result_.outcomes[record.position];
  outcome.set_claims(outcome.claims() + record.claims);
  outcome.set_rejected_claims(outcome.rejected_claims() + record.rejected);
  outcome.set_steps_done(outcome.steps_done() + record.steps);
  outcome.set_forwards(outcome.forwards() + record.forwards);
  outcome.set_backwards(outcome.backwards() + record.backwards);
  outcome.set_zero_grads(outcome.zero_grads() + record.zero_grads);
  outcome.set_nonfinite_grads(outcome.nonfinite_grads() + record.nonfinite_grads);
  outcome.set_nonfinite_logits(outcome.nonfinite_logits() + record.nonfinite_logits);
  totals.rejected_claims += record.rejected;
  totals.zero_grads += record.zero_grads;
  totals.nonfinite_grads += record.nonfinite_grads;
  totals.nonfinite_logits += record.nonfinite_logits;
  totals.extra_forwards += record.extra_forwards;
  totals.empty_maps += record.empty_maps;
}

// Images outside every ball count for the attack alone, unless nothing here has a ball.
bool EvaluationState::CountsFor(const AttackInstance& instance, const Verification& found) const {
  if (!instance.no_ball || !any_ball_) return true;
  return std::any_of(instances_.begin(), instances_.end(), [&](const AttackInstance& other) {
    return !other.no_ball && InBall(found.distances, other.threat);
  });
}

void EvaluationState::TakeFinding(int index, const AttackRecord& record) {
  if (!CountsFor(instances_[index], record.verification)) return;
  const int64_t position = record.position;
  v1::SampleOutcome& outcome = result_.outcomes[position];
  const bool first = result_.instance_of[position] < 0;
  const bool nearer = nearest_ && outcome.has_min_norm() && record.min_norm < outcome.min_norm();
  // The first instance in list order counts, in a search for distances the nearest image.
  if (!first && !nearer) return;
  robust_ -= first;
  broken_ += first;
  result_.instances[index].broken_first += first;
  result_.instance_of[position] = index;
  result_.images[position] = record.image;
  outcome.set_state(v1::BROKEN);
  outcome.set_broken_by(instances_[index].name);
  outcome.set_restart(static_cast<int32_t>(record.restart));
  outcome.set_target(static_cast<int32_t>(record.target));
  outcome.set_step(static_cast<int32_t>(record.step));
  SetImageFields(record.verification, outcome);
  outcome.set_hit_target(record.target >= 0 && record.target == outcome.adv_pred());
}

void EvaluationState::Apply(const BatchRecord& batch) {
  const int index = static_cast<int>(batch.instance);
  InstanceOutcome& totals = result_.instances[index];
  Totals& plugin = totals_[instances_[index].spec.name()];
  for (const AttackRecord& record : batch.samples) {
    v1::SampleOutcome& outcome = result_.outcomes[record.position];
    AddCounts(record, totals);
    if (record.broken) {
      hit_[index][record.position] = true;
      ++totals.broken;
      ++plugin.successes;
      totals.broken_steps.push_back(record.step);
      TakeFinding(index, record);
    } else if (record.judged && outcome.state() == v1::ROBUST) {
      SetImageFields(record.verification, outcome);
      result_.images[record.position] = record.image;
    }
    if (!std::isnan(record.min_norm)) {
      totals.min_norm[record.position] = record.min_norm;
      outcome.set_min_norm(outcome.has_min_norm() ? std::min(outcome.min_norm(), record.min_norm)
                                                  : record.min_norm);
    }
  }
  const auto count = static_cast<int64_t>(batch.samples.size());
  attacked_ += count;
  plugin.samples += count;
  plugin.queries += batch.backwards;
  totals.attacked += count;
  totals.forwards += batch.forwards;
  totals.backwards += batch.backwards;
  totals.padded_rows += batch.padded_rows;
  totals.seconds += batch.seconds;
  result_.backwards += batch.backwards;
  CountRows(batch.forwards + batch.judge_forwards, batch.padded_rows + batch.judge_padded_rows);
}

void EvaluationState::Finish(int index) {
  InstanceOutcome& totals = result_.instances[index];
  const auto size = static_cast<int64_t>(result_.outcomes.size());
  totals.broken_at.resize(size);
  for (int64_t p = 0; p < size; ++p) {
    totals.broken_at[p] = Broken(index, p);
    if (!cascade_ && totals.broken_at[p]) result_.outcomes[p].add_broken_by_all(index);
  }
}

void EvaluationState::CountRows(int64_t forwards, int64_t padded_rows) {
  result_.forwards += forwards;
  result_.padded_rows += padded_rows;
}

void EvaluationState::Describe(int index, EvaluationProgress& progress) const {
  progress.attack = instances_[index].spec.name();
  const auto found = totals_.find(progress.attack);
  if (found == totals_.end()) return;
  progress.attack_samples = found->second.samples;
  progress.attack_successes = found->second.successes;
  progress.attack_gradient_queries = found->second.queries;
}

}  // namespace adamant
