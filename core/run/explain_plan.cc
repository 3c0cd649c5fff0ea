// SPDX-License-Identifier: Apache-2.0
#include "core/run/explain_plan.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "core/explainers/colour_map.h"
#include "core/run/inner_attack.h"

namespace adamant {
namespace {

constexpr size_t kMaxExplainers = 16;
constexpr int64_t kChunkValues = 16 << 20;  // activations and image values of one chunk
constexpr int64_t kMaxChunk = 64;

absl::Status CheckServed(const v1::ExplainSpec& spec) {
  if (spec.analyses_size() > 0) {
    return absl::UnimplementedError("analyses: an ExplainJob does not run analyses yet");
  }
  for (const int output : spec.outputs()) {
    if (output == v1::REPORT) {
      return absl::UnimplementedError(
          "outputs: REPORT is not served yet; choose TABLE and SHEET_PNG");
    }
    if (output == v1::TOP_CLASSES || output == v1::LAYERS) {
      return absl::InvalidArgumentError(
          absl::StrCat("outputs: ", v1::ExplainOutput_Name(static_cast<v1::ExplainOutput>(output)),
                       " belongs to the interactive Explain, not to an ExplainJob"));
    }
  }
  return absl::OkStatus();
}

absl::Status PlanExplainers(const v1::ExplainSpec& spec, const ModelInfo& info, ExplainPlan& plan) {
  std::vector<v1::PluginSpec> wanted(spec.explainers().begin(), spec.explainers().end());
  if (wanted.empty()) wanted.emplace_back().set_name("grad_cam");
  if (wanted.size() > kMaxExplainers) {
    return absl::InvalidArgumentError(
        absl::StrCat("explainers: ", wanted.size(), ", at most ", kMaxExplainers));
  }
  std::vector<std::string> names;
  for (const v1::PluginSpec& one : wanted) {
    PlannedExplainer planned;
    ASSIGN_OR_RETURN(planned.spec, NormalizePluginSpec(one, Registry<Explainer>::Family()));
    ASSIGN_OR_RETURN(planned.explainer, MakePlugin<Explainer>(planned.spec));
    names.push_back(planned.spec.name());
    const auto times = std::count(names.begin(), names.end(), planned.spec.name());
    planned.name = times == 1 ? names.back() : absl::StrCat(names.back(), "-", times);
    plan.explainers.push_back(std::move(planned));
  }
  ASSIGN_OR_RETURN(plan.layers, SelectLayers(info, {spec.layers().begin(), spec.layers().end()}));
  for (const PlannedExplainer& one : plan.explainers) {
    RETURN_IF_ERROR(CheckNeeds(*one.explainer, one.spec.name(), info, plan.layers));
  }
  return absl::OkStatus();
}

absl::Status PlanTarget(const v1::ExplainSpec& spec, const ModelInfo& info, ExplainPlan& plan) {
  const int64_t num_classes = info.shape.num_classes;
  const v1::TargetPolicy policy = spec.target() == v1::TARGET_POLICY_UNSPECIFIED
                                      ? (spec.has_class_index() ? v1::GIVEN : v1::PREDICTED)
                                      : spec.target();
  const v1::ExplainScore score =
      spec.score() == v1::EXPLAIN_SCORE_UNSPECIFIED ? v1::LOGIT : spec.score();
  plan.target_name = v1::TargetPolicy_Name(policy);
  plan.score_name = v1::ExplainScore_Name(score);
  plan.target.rule = static_cast<TargetRule>(policy - v1::PREDICTED);
  plan.score = {static_cast<ScoreKind>(score - v1::LOGIT), spec.contrast_class()};
  RETURN_IF_ERROR(CheckScore(plan.score, num_classes));
  if (policy != v1::GIVEN) {
    if (!spec.has_class_index()) return absl::OkStatus();
    return absl::InvalidArgumentError("class_index goes with target GIVEN only");
  }
  if (!spec.has_class_index()) {
    return absl::InvalidArgumentError("target GIVEN needs class_index");
  }
  plan.target.class_index = spec.class_index();
  if (spec.class_index() < 0 || spec.class_index() >= num_classes) {
    return absl::InvalidArgumentError(absl::StrCat("class_index: ", spec.class_index(),
                                                   " is outside [0, ", num_classes - 1,
                                                   "]; the model has ", num_classes, " classes"));
  }
  return absl::OkStatus();
}

absl::Status PlanAttack(const v1::ExplainSpec& spec, const ModelInfo& info, ExplainPlan& plan) {
  if (!spec.has_attack()) return absl::OkStatus();
  PlannedAttack planned;
  ASSIGN_OR_RETURN(planned.spec,
                   NormalizePluginSpec(spec.attack().attack(), Registry<Attack>::Family()));
  ASSIGN_OR_RETURN(planned.threat, ToThreatModel(spec.attack().threat(), info.shape));
  const auto& norms = Registry<Attack>::All().at(planned.spec.name()).declaration.norms;
  const std::string norm = NormName(planned.threat.norm);
  if (std::find(norms.begin(), norms.end(), norm) == norms.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("attack.threat.norm: attack \"", planned.spec.name(), "\" does not support ",
                     norm, "; supported: ", absl::StrJoin(norms, ", ")));
  }
  ASSIGN_OR_RETURN(planned.attack, MakePlugin<Attack>(planned.spec));
  plan.attack = std::move(planned);
  return absl::OkStatus();
}

absl::Status PlanDisplay(const v1::Display& display, ExplainPlan& plan) {
  plan.colour_map = display.colour_map().empty() ? "viridis" : display.colour_map();
  RETURN_IF_ERROR(ColourTable(plan.colour_map).status());
  if (display.has_opacity()) plan.opacity = display.opacity();
  if (!(plan.opacity >= 0 && plan.opacity <= 1)) {
    return absl::InvalidArgumentError("display.opacity must be in [0,1]");
  }
  if (!display.upsampling().empty() && display.upsampling() != "bilinear" &&
      display.upsampling() != "nearest") {
    return absl::InvalidArgumentError(absl::StrCat("display.upsampling: \"", display.upsampling(),
                                                   "\" is none of bilinear, nearest"));
  }
  if (display.upsampling() == "nearest") plan.upsampling = Upsampling::kNearest;
  plan.scale = display.scale();
  if (plan.scale < 0 || plan.scale > 64) {
    return absl::InvalidArgumentError("display.scale must be in [0, 64]");
  }
  return absl::OkStatus();
}

// The largest power of two whose images and activations fit a chunk.
int64_t AutoChunk(const ModelInfo& info) {
  int64_t values = info.shape.channels * info.shape.height * info.shape.width;
  for (const Tap& tap : info.taps) {
    values += tap.channels * std::max<int64_t>(1, tap.height) * std::max<int64_t>(1, tap.width);
  }
  int64_t chunk = 1;
  while (chunk < kMaxChunk && chunk * 2 * values <= kChunkValues) chunk *= 2;
  return chunk;
}

}  // namespace

absl::StatusOr<ExplainPlan> PlanExplain(const v1::ExplainSpec& spec, const ModelInfo& info) {
  ExplainPlan plan;
  RETURN_IF_ERROR(CheckServed(spec));
  RETURN_IF_ERROR(PlanExplainers(spec, info, plan));
  RETURN_IF_ERROR(PlanTarget(spec, info, plan));
  RETURN_IF_ERROR(PlanAttack(spec, info, plan));
  RETURN_IF_ERROR(PlanDisplay(spec.display(), plan));
  for (const int output : spec.outputs()) {
    plan.outputs.insert(static_cast<v1::ExplainOutput>(output));
  }
  if (plan.outputs.empty()) plan.outputs = {v1::RAW_MAP, v1::SHEET_PNG, v1::TABLE};
  if (spec.max_pictures() < 0 || spec.max_pictures() > 1000) {
    return absl::InvalidArgumentError("max_pictures must be in [0, 1000]");
  }
  if (spec.max_pictures() > 0) plan.max_pictures = spec.max_pictures();
  if (spec.max_batch() < 0 || spec.max_batch() > 4096) {
    return absl::InvalidArgumentError("max_batch must be in [0, 4096]");
  }
  plan.max_batch = spec.max_batch() > 0 ? spec.max_batch() : AutoChunk(info);
  plan.preprocess = spec.preprocess();
  plan.seed = spec.seed();
  return plan;
}

}  // namespace adamant
