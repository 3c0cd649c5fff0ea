// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "adamant/v1/train.pb.h"

namespace adamant {

// The length of a run.
struct RunLength {
  int64_t total_steps = 0;
  int64_t steps_per_epoch = 1;
  bool in_epochs = false;  // milestones count epochs, else steps
};

// Learning rate at `step` (0-based): the schedule's factor of `base_lr` times the warm-up factor
// min(1, (step+1) / warmup_steps). With t = step / total_steps:
//   CONSTANT 1;  STEP gamma^(milestones <= position);  COSINE (1 + cos(pi t)) / 2, the product with
//   base_lr not below min_lr;  CYCLIC t / peak up to peak, then (1-t) / (1-peak);
//   EXPONENTIAL gamma^floor(epoch / every).
// `schedule` must be complete (CompleteTrainSpec). A pure function: nothing to save or resume.
double LearningRate(const v1::Schedule& schedule, double base_lr, const RunLength& length,
                    int64_t step);

}  // namespace adamant
