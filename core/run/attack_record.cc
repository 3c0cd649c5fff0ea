// SPDX-License-Identifier: Apache-2.0
#include "core/run/attack_record.h"

#include <algorithm>

#include "core/base/torch.h"

namespace adamant {
namespace {

double DistanceIn(Norm norm, const Distances& found) {
  switch (norm) {
    case Norm::kLinf:
      return found.linf;
    case Norm::kL2:
      return found.l2;
    case Norm::kL1:
      return found.l1;
    case Norm::kL0:
      return static_cast<double>(found.pixels);
  }
  return 0;
}

}  // namespace

void AddTotals(const BatchRecord& batch, BatchRecord& to) {
  to.run = batch.run;
  to.instance = batch.instance;
  to.forwards += batch.forwards;
  to.backwards += batch.backwards;
  to.padded_rows += batch.padded_rows;
  to.judge_forwards += batch.judge_forwards;
  to.judge_padded_rows += batch.judge_padded_rows;
  to.seconds += batch.seconds;
}

std::vector<AttackRecord> Records(const AttackResult& done, const VerifyingJudge& judge,
                                  absl::Span<const int64_t> positions) {
  const SampleCounts& counts = done.counts;
  const at::Tensor none = at::zeros_like(counts.steps);
  const at::Tensor all =
      at::stack({counts.steps, counts.forwards, counts.backwards, counts.zero_grads,
                 counts.nonfinite_grads, counts.nonfinite_logits,
                 counts.extra_forwards.defined() ? counts.extra_forwards : none,
                 counts.empty_maps.defined() ? counts.empty_maps : none})
          .cpu();
  const auto at = all.accessor<int64_t, 2>();
  std::vector<AttackRecord> records(positions.size());
  for (size_t i = 0; i < positions.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    AttackRecord& record = records[i];
    record.position = positions[i];
    record.steps = at[0][row];
    record.forwards = at[1][row];
    record.backwards = at[2][row];
    record.zero_grads = at[3][row];
    record.nonfinite_grads = at[4][row];
    record.nonfinite_logits = at[5][row];
    record.extra_forwards = at[6][row];
    record.empty_maps = at[7][row];
    record.claims = judge.claims(row);
    record.rejected = judge.rejected(row);
    if (done.min_norm.defined()) record.min_norm = std::numeric_limits<double>::infinity();
    const std::optional<Finding>& finding = judge.finding(row);
    if (!finding.has_value()) continue;
    record.broken = true;
    record.judged = true;
    record.verification = finding->verification;
    record.image = finding->image;
    record.step = finding->step;
    record.restart = finding->restart;
    record.target = finding->target;
    if (done.min_norm.defined()) {
      record.min_norm = DistanceIn(judge.threat().norm, finding->verification.distances);
    }
  }
  return records;
}

void TakeNearest(const Verification& found, const at::Tensor& image, Norm norm,
                 AttackRecord& record) {
  const double distance =
      found.accepted ? DistanceIn(norm, found.distances) : std::numeric_limits<double>::infinity();
  const double before = record.broken ? DistanceIn(norm, record.verification.distances)
                                      : std::numeric_limits<double>::infinity();
  record.min_norm = std::min(distance, before);
  if (!(distance < before)) return;
  record.broken = true;
  record.judged = true;
  record.verification = found;
  record.image = image.clone();
}

}  // namespace adamant
