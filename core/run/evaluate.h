// SPDX-License-Identifier: Apache-2.0
// Attack runs: AttackSpec -> AttackReport, and the same evaluation for a model in training.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adamant/v1/attack.pb.h"
#include "core/run/evaluation.h"
#include "core/run/run_context.h"

namespace adamant {

// Opens the job's model and data and evaluates. INVALID_ARGUMENT when spec, model and data do not
// fit each other; DATA_LOSS when the final check fails; UNIMPLEMENTED for parts of the spec that
// this release does not serve. Throws what the model throws, and Stopped.
//
// Metrics per batch: "clean_accuracy", then "robust_accuracy" (of all samples so far) and the
// totals of each plug-in: "attack_samples.NAME", "attack_successes.NAME",
// "attack_gradient_queries.NAME".
absl::Status Evaluate(const v1::AttackSpec& spec, RunContext& context, v1::AttackReport& report);

// The same for a model and a slice that are open already.
absl::Status EvaluateModel(Model& model, const DataSlice& data, const v1::AttackSpec& spec,
                           RunContext& context, v1::AttackReport& report);

// Accuracy of a model in training.
struct RobustnessMeasure {
  v1::Accuracy clean_accuracy;
  std::vector<v1::NamedAccuracy> robust_accuracy;  // one per entry and epsilon, each attack alone
  v1::Accuracy worst_case;                         // robust against all of them
  double largest_class_share = 0;                  // of clean predictions
};

// Streams are "eval_attack:<attack>:<epoch>". The model's mode and buffers are as before
// afterwards.
struct MeasureOptions {
  uint64_t seed = 0;
  int64_t epoch = 0;
  std::string device = "cpu";
};

absl::StatusOr<RobustnessMeasure> MeasureRobustness(
    Model& model, const Samples& samples,
    const google::protobuf::RepeatedPtrField<v1::AttackEntry>& attacks,
    const MeasureOptions& options, const RunControl& control);

}  // namespace adamant
