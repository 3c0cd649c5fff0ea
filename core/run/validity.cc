// SPDX-License-Identifier: Apache-2.0
#include "core/run/validity.h"

#include "absl/strings/str_cat.h"
#include "core/run/validity/check.h"
#include "core/run/validity/gather.h"
#include "core/run/validity/measure.h"

namespace adamant {
namespace {

v1::ValidityCheck Apply(const validity::Check& check, const validity::ValidityFacts& facts) {
  const validity::Finding found =
      facts.samples == 0 ? validity::NotRun("there are no samples") : check.rule(facts);
  v1::ValidityCheck out;
  out.set_id(check.id);
  out.set_name(check.name);
  out.set_status(found.status);
  out.set_severity(found.status == v1::ValidityCheck::FAIL ? found.severity : check.severity);
  out.set_value(found.value);
  out.set_threshold(found.threshold);
  out.set_n_used(found.samples);
  out.set_text(found.text);
  return out;
}

// Everything that takes passes of its own.
void Measure(const ValidityInput& input, validity::ValidityFacts& facts, v1::AttackReport& report) {
  validity::Probe probe(input);
  validity::MeasureData(input, facts);
  validity::MeasureModel(probe, facts);
  validity::MeasureSearch(probe, facts);
  if (input.spec.depth() == "full") validity::MeasureFull(probe, facts);
  report.add_notes(absl::StrCat("validity checks: ", probe.forwards(), " forward and ",
                                probe.backwards(), " backward rows besides the attacks'"));
}

}  // namespace

absl::Status RunValidityChecks(const ValidityInput& input, v1::AttackReport& report) {
  validity::ValidityFacts facts = validity::GatherFacts(input, report);
  if (facts.samples > 0) Measure(input, facts, report);
  std::vector<v1::ValidityCheck> checks;
  for (const validity::Check& check : validity::AllChecks()) {
    checks.push_back(Apply(check, facts));
    *report.add_checks() = checks.back();
  }
  const Judgement judged = VerdictOf(checks);
  report.set_verdict(judged.verdict);
  report.set_verdict_reason(judged.reason);
  return absl::OkStatus();
}

}  // namespace adamant
