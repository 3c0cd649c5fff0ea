// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "adamant/v1/explain.pb.h"
#include "core/attacks/attack.h"
#include "core/explainers/display.h"
#include "core/explainers/explainer.h"

namespace adamant {

struct PlannedExplainer {
  std::string name;     // of the plug-in; "grad_cam-2" where one is asked for twice
  v1::PluginSpec spec;  // complete
  std::unique_ptr<Explainer> explainer;
};

struct PlannedAttack {
  v1::PluginSpec spec;  // complete
  std::unique_ptr<Attack> attack;
  ThreatModel threat;
};

// An ExplainSpec, checked against a model and with every default filled in.
struct ExplainPlan {
  std::vector<PlannedExplainer> explainers;
  std::vector<Tap> layers;
  TargetPolicy target;
  std::string target_name;  // "PREDICTED", ...
  Score score;
  std::string score_name;
  std::optional<PlannedAttack> attack;
  std::set<v1::ExplainOutput> outputs;
  v1::Preprocess preprocess;
  Upsampling upsampling = Upsampling::kBilinear;
  std::string colour_map;
  double opacity = 0.5;
  int64_t scale = 0;  // 0: enough for 224 pixels a side
  int64_t max_pictures = 32;
  int64_t max_batch = 0;  // images per chunk
  uint64_t seed = 0;

  bool Wants(v1::ExplainOutput output) const { return outputs.count(output) > 0; }
  bool WantsPictures() const {
    return Wants(v1::OVERLAY_PNG) || Wants(v1::HEATMAP_PNG) || Wants(v1::SHEET_PNG);
  }
  int64_t variants() const { return attack.has_value() ? 2 : 1; }  // maps per sample and layer
};

// INVALID_ARGUMENT for what is unknown or out of range; FAILED_PRECONDITION for an explainer that
// the model cannot serve; UNIMPLEMENTED for what this version does not do: nothing is ignored.
absl::StatusOr<ExplainPlan> PlanExplain(const v1::ExplainSpec& spec, const ModelInfo& info);

}  // namespace adamant
