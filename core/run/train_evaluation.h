// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "adamant/v1/attack.pb.h"
#include "core/base/run_control.h"
#include "core/data/dataset.h"
#include "core/models/model.h"
#include "core/run/evaluation.h"

namespace adamant {

// How a model in training does on its validation slice.
struct TrainMeasurement {
  v1::Accuracy clean_accuracy;
  std::vector<v1::NamedAccuracy> robust_accuracy;  // one per attack, each alone
  double largest_class_share = 0;                  // of clean predictions
};

// Measures in eval mode and in FP32; mode and buffers are restored. The draws of an attack are
// those of stream `eval_attack:<name>:<epoch>`.
absl::StatusOr<TrainMeasurement> MeasureInTraining(Model& model, const DataSlice& slice,
                                                   std::vector<AttackInstance> attacks,
                                                   uint64_t seed, int64_t epoch,
                                                   const std::string& device,
                                                   const RunControl& control);

}  // namespace adamant
