// SPDX-License-Identifier: Apache-2.0
#include "core/run/attack_seeds.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace adamant {
namespace {

double Nearer(double a, double b) {
  if (std::isnan(a)) return b;
  return std::isnan(b) ? a : std::min(a, b);
}

void AddInstance(const InstanceOutcome& from, InstanceOutcome& to) {
  to.attacked += from.attacked;
  to.broken += from.broken;
  to.broken_first += from.broken_first;
  to.rejected_claims += from.rejected_claims;
  to.forwards += from.forwards;
  to.backwards += from.backwards;
  to.padded_rows += from.padded_rows;
  to.zero_grads += from.zero_grads;
  to.nonfinite_grads += from.nonfinite_grads;
  to.nonfinite_logits += from.nonfinite_logits;
  to.extra_forwards += from.extra_forwards;
  to.empty_maps += from.empty_maps;
  to.seconds += from.seconds;
  for (size_t i = 0; i < to.broken_at.size(); ++i) {
    to.broken_at[i] = to.broken_at[i] || from.broken_at[i];
    to.min_norm[i] = Nearer(to.min_norm[i], from.min_norm[i]);
  }
}

void AddWork(const v1::SampleOutcome& from, v1::SampleOutcome& to) {
  to.set_steps_done(to.steps_done() + from.steps_done());
  to.set_forwards(to.forwards() + from.forwards());
  to.set_backwards(to.backwards() + from.backwards());
  to.set_zero_grads(to.zero_grads() + from.zero_grads());
  to.set_nonfinite_grads(to.nonfinite_grads() + from.nonfinite_grads());
  to.set_nonfinite_logits(to.nonfinite_logits() + from.nonfinite_logits());
  to.set_claims(to.claims() + from.claims());
  to.set_rejected_claims(to.rejected_claims() + from.rejected_claims());
}

void AddSample(size_t sample, EvaluationResult& from, EvaluationResult& to) {
  v1::SampleOutcome& kept = to.outcomes[sample];
  v1::SampleOutcome& other = from.outcomes[sample];
  const bool later_breaks = kept.state() == v1::ROBUST && other.state() == v1::BROKEN;
  const bool nearer = kept.has_min_norm() && other.min_norm() < kept.min_norm();
  if (later_breaks || nearer) {
    std::swap(kept, other);
    to.images[sample] = std::move(from.images[sample]);
    to.instance_of[sample] = from.instance_of[sample];
  }
  AddWork(other, kept);
}

}  // namespace

int64_t CountRobust(const EvaluationResult& result) {
  return std::count_if(result.outcomes.begin(), result.outcomes.end(),
                       [](const v1::SampleOutcome& o) { return o.state() == v1::ROBUST; });
}

EvaluationResult WorstCase(std::vector<EvaluationResult> runs) {
  EvaluationResult worst = std::move(runs[0]);
  for (size_t run = 1; run < runs.size(); ++run) {
    EvaluationResult& from = runs[run];
    for (size_t i = 0; i < worst.outcomes.size(); ++i) AddSample(i, from, worst);
    for (size_t i = 0; i < worst.instances.size(); ++i) {
      AddInstance(from.instances[i], worst.instances[i]);
    }
    worst.forwards += from.forwards;
    worst.backwards += from.backwards;
    worst.padded_rows += from.padded_rows;
    worst.work_repeated = std::max(worst.work_repeated, from.work_repeated);
    worst.final_check_seconds += from.final_check_seconds;
    worst.notes.insert(worst.notes.end(), from.notes.begin(), from.notes.end());
  }
  return worst;
}

}  // namespace adamant
