// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "adamant/v1/train.pb.h"
#include "core/run/run_context.h"

namespace adamant {

// Trains a model: reads model and data from `context`, reports progress, metrics and checkpoints to
// it, writes the kept weights as artifact `weights` (and the last ones as `weights_last` when they
// differ) and fills `report`. A run that is resumed from a checkpoint gives the same weights and
// the same report, times excepted, as one that was never interrupted.
//
// INVALID_ARGUMENT: the spec is wrong or asks for what is not served. FAILED_PRECONDITION: the
// checkpoint belongs to another spec or other data, or, with require_reproducible, to another
// fingerprint. OUT_OF_RANGE: a loss, a term or the gradient is not finite. Throws Stopped after a
// checkpoint was saved.
absl::Status RunTrain(const v1::TrainSpec& spec, RunContext& context, v1::TrainReport& report);

}  // namespace adamant
