// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/run/explain_plan.h"
#include "core/run/explain_samples.h"

namespace adamant {

// One map and what is known about it.
struct MapRecord {
  v1::ExplainRow row;
  at::Tensor raw;      // float32 [h,w] on the CPU
  int64_t sample = 0;  // position in the job
  bool adversarial = false;
  bool failed = false;  // a value of the map is not finite
};

// All maps of one explainer at one layer: samples in order, the clean map before the adversarial.
struct MapColumn {
  std::string explainer;  // PlannedExplainer.name
  v1::PluginSpec spec;
  std::string layer;
  Signedness signedness = Signedness::kNonNegative;
  std::vector<MapRecord> records;

  std::string name() const { return explainer + "." + layer; }
};

// A sample as pictures show it; float32 [C,H,W] on the CPU.
struct PictureSample {
  at::Tensor image;
  at::Tensor adversarial;  // undefined without an attack
};

struct ExplainedSamples {
  std::vector<MapColumn> columns;       // explainers in order, layers within
  std::vector<PictureSample> pictures;  // of the first samples
  int64_t forwards = 0;                 // rows, the attack's included
  int64_t backwards = 0;
};

// Explains every sample in chunks, clean and, with an attack, adversarial. `progress` gets maps
// done and in all. Throws Stopped between chunks.
absl::StatusOr<ExplainedSamples> ExplainAll(
    const ExplainPlan& plan, const ExplainSamples& samples, Model& model, const std::string& device,
    const RunControl& control, const std::function<void(int64_t done, int64_t all)>& progress);

}  // namespace adamant
