// SPDX-License-Identifier: Apache-2.0
// What one attack instance did, sample by sample: the unit in which an evaluation goes on after a
// stop.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "core/run/judge.h"

namespace adamant {

// One attack instance and one sample.
struct AttackRecord {
  int64_t position = 0;  // of the sample
  bool broken = false;   // verified
  int64_t step = 0;      // of the accepted claim
  int64_t restart = 0;
  int64_t target = -1;
  bool judged = false;  // `verification` is set: of the accepted image, or of the one returned
  Verification verification;  // at the end
  at::Tensor image;           // [C,H,W] CPU; undefined: not kept
  int64_t claims = 0;
  int64_t rejected = 0;
  int64_t steps = 0;
  int64_t forwards = 0;
  int64_t backwards = 0;
  int64_t zero_grads = 0;
  int64_t nonfinite_grads = 0;
  int64_t nonfinite_logits = 0;
  int64_t extra_forwards = 0;
  int64_t empty_maps = 0;
  // Minimum-norm attacks: verified distance, +inf for none. NaN: not a minimum-norm attack.
  double min_norm = std::numeric_limits<double>::quiet_NaN();
};

// Samples that were in flight together.
struct BatchRecord {
  int64_t run = 0;       // of a list of seeds
  int64_t instance = 0;  // of the evaluation
  std::vector<AttackRecord> samples;
  int64_t forwards = 0;  // rows of the attack, without padding
  int64_t backwards = 0;
  int64_t padded_rows = 0;
  int64_t judge_forwards = 0;  // rows of verification
  int64_t judge_padded_rows = 0;
  double seconds = 0;
};

// Adds everything but the samples to the batch of the same run and instance, `to`.
void AddTotals(const BatchRecord& batch, BatchRecord& to);

// What the attack and the judge say about the samples at `positions`, in the order of the batch.
std::vector<AttackRecord> Records(const AttackResult& done, const VerifyingJudge& judge,
                                  absl::Span<const int64_t> positions);

// The image that a search for distances returned takes the place of the claim it began with, where
// it is nearer.
void TakeNearest(const Verification& found, const at::Tensor& image, Norm norm,
                 AttackRecord& record);

}  // namespace adamant
