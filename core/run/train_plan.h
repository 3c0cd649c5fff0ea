// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "adamant/v1/train.pb.h"

namespace adamant {

// `spec` with every default filled in that does not depend on model or data. INVALID_ARGUMENT lists
// everything that is out of range, contradicts itself, or is not served by this version: nothing is
// ignored.
absl::StatusOr<v1::TrainSpec> CompleteTrainSpec(const v1::TrainSpec& spec);

// SHA-256 (hex) of a whole spec.
std::string TrainSpecDigest(const v1::TrainSpec& spec);

// SHA-256 (hex) of what fixes the course of a run: all but evaluation, checkpoint, register_as and
// epochs (a resume may lengthen the run).
std::string ResumeDigest(v1::TrainSpec spec);

}  // namespace adamant
