// SPDX-License-Identifier: Apache-2.0
#include "core/run/attack_artifacts.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "core/base/torch.h"
#include "core/models/safetensors.h"

namespace adamant {
namespace {

constexpr int64_t kReadChunk = 512;

using Outcomes = std::vector<v1::SampleOutcome>;

// One value per sample as a tensor.
template <class T, class Get>
at::Tensor Column(const Outcomes& outcomes, at::ScalarType type, Get get) {
  const at::Tensor out = at::empty({static_cast<int64_t>(outcomes.size())}, type);
  for (size_t i = 0; i < outcomes.size(); ++i) out.data_ptr<T>()[i] = static_cast<T>(get(i));
  return out;
}

template <class Get>
at::Tensor Integers(const Outcomes& outcomes, Get get) {
  return Column<int64_t>(outcomes, at::kLong, [&](size_t i) { return get(outcomes[i]); });
}

template <class Get>
at::Tensor Reals(const Outcomes& outcomes, Get get) {
  return Column<double>(outcomes, at::kDouble, [&](size_t i) { return get(outcomes[i]); });
}

template <class Get>
at::Tensor Floats(const Outcomes& outcomes, Get get) {
  return Column<float>(outcomes, at::kFloat, [&](size_t i) { return get(outcomes[i]); });
}

template <class Get>
at::Tensor Flags(const Outcomes& outcomes, Get get) {
  return Column<uint8_t>(outcomes, at::kByte, [&](size_t i) { return get(outcomes[i]) ? 1 : 0; });
}

std::string Full(double value) { return absl::StrFormat("%.17g", value); }

at::Tensor BrokenBy(const EvaluationResult& result) {
  return Column<int64_t>(result.outcomes, at::kLong,
                         [&](size_t i) { return result.instance_of[i]; });
}

at::Tensor BrokenByAll(const EvaluationResult& result) {
  const auto n = static_cast<int64_t>(result.outcomes.size());
  const auto count = static_cast<int64_t>(result.instances.size());
  const at::Tensor out = at::zeros({n, count}, at::kByte);
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t i = 0; i < n; ++i) {
      out.data_ptr<uint8_t>()[i * count + j] = result.instances[j].broken_at[i] ? 1 : 0;
    }
  }
  return out;
}

void Describe(const std::vector<AttackInstance>& instances,
              std::map<std::string, std::string>& metadata) {
  metadata["attacks"] =
      absl::StrJoin(instances, ";", [](std::string* out, const AttackInstance& instance) {
        absl::StrAppend(out, instance.name, "@", NormName(instance.threat.norm),
                        "<=", instance.threat.epsilon);
      });
  metadata["program_version"] = kVersion;
}

// The image of every sample: the kept one, else the clean one.
absl::StatusOr<at::Tensor> AllImages(const EvaluationResult& result, const Samples& samples) {
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < samples.size; begin += kReadChunk) {
    std::vector<int64_t> positions;
    for (int64_t p = begin; p < std::min(begin + kReadChunk, samples.size); ++p) {
      positions.push_back(p);
    }
    ASSIGN_OR_RETURN(const Batch clean, samples.read(positions));
    const at::Tensor images = clean.images.clone();
    for (size_t i = 0; i < positions.size(); ++i) {
      const at::Tensor& kept = result.images[positions[i]];
      if (kept.defined()) images[static_cast<int64_t>(i)].copy_(kept);
    }
    parts.push_back(images);
  }
  return parts.empty() ? at::empty({0, 1, 1, 1}) : at::cat(parts);
}

}  // namespace

std::string SampleTable(const EvaluationResult& result,
                        const std::vector<AttackInstance>& instances,
                        std::map<std::string, std::string> metadata) {
  using O = v1::SampleOutcome;
  const Outcomes& all = result.outcomes;
  const std::map<std::string, at::Tensor> columns = {
      {"sample_id", Integers(all, [](const O& o) { return o.sample_id(); })},
      {"label", Integers(all, [](const O& o) { return o.label(); })},
      {"clean_pred", Integers(all, [](const O& o) { return o.clean_pred(); })},
      {"clean_margin", Reals(all, [](const O& o) { return o.clean_margin(); })},
      {"state", Integers(all, [](const O& o) { return static_cast<int>(o.state()); })},
      {"broken_by", BrokenBy(result)},
      {"broken_by_all", BrokenByAll(result)},
      {"restart", Integers(all, [](const O& o) { return o.restart(); })},
      {"target", Integers(all, [](const O& o) { return o.target(); })},
      {"step", Integers(all, [](const O& o) { return o.step(); })},
      {"adv_pred", Integers(all, [](const O& o) { return o.adv_pred(); })},
      {"final_margin", Reals(all, [](const O& o) { return o.final_margin(); })},
      {"fragile", Flags(all, [](const O& o) { return o.fragile(); })},
      {"hit_target", Flags(all, [](const O& o) { return o.hit_target(); })},
      {"dist_linf", Reals(all, [](const O& o) { return o.dist_linf(); })},
      {"dist_l2", Reals(all, [](const O& o) { return o.dist_l2(); })},
      {"dist_l1", Reals(all, [](const O& o) { return o.dist_l1(); })},
      {"dist_l0", Integers(all, [](const O& o) { return o.dist_l0(); })},
      {"min_norm", Reals(all,
                         [](const O& o) {
                           return o.has_min_norm() ? o.min_norm()
                                                   : std::numeric_limits<double>::quiet_NaN();
                         })},
      {"broken_8bit", Flags(all, [](const O& o) { return o.broken_8bit(); })},
      {"steps_done", Integers(all, [](const O& o) { return o.steps_done(); })},
      {"forwards", Integers(all, [](const O& o) { return o.forwards(); })},
      {"backwards", Integers(all, [](const O& o) { return o.backwards(); })},
      {"zero_grads", Integers(all, [](const O& o) { return o.zero_grads(); })},
      {"nonfinite_grads", Integers(all, [](const O& o) { return o.nonfinite_grads(); })},
      {"nonfinite_logits", Integers(all, [](const O& o) { return o.nonfinite_logits(); })},
      {"claims", Integers(all, [](const O& o) { return o.claims(); })},
      {"rejected_claims", Integers(all, [](const O& o) { return o.rejected_claims(); })},
  };
  metadata["schema"] = "adamant.samples/1";
  metadata["states"] = "1:ROBUST;2:BROKEN;3:CLEAN_WRONG;4:ERROR";
  Describe(instances, metadata);
  return WriteSafetensors(columns, metadata);
}

std::string SampleCsv(const EvaluationResult& result) {
  std::string out =
      "sample_id,label,clean_pred,clean_margin,state,broken_by,restart,target,step,adv_pred,"
      "final_margin,fragile,hit_target,dist_linf,dist_l2,dist_l1,dist_l0,broken_8bit,steps_done,"
      "forwards,backwards,zero_grads,nonfinite_grads,nonfinite_logits,claims,rejected_claims,"
      "min_norm\n";
  for (const v1::SampleOutcome& o : result.outcomes) {
    out += absl::StrJoin(
        std::make_tuple(o.sample_id(), o.label(), o.clean_pred(), Full(o.clean_margin()),
                        v1::SampleState_Name(o.state()), o.broken_by(), o.restart(), o.target(),
                        o.step(), o.adv_pred(), Full(o.final_margin()), int{o.fragile()},
                        int{o.hit_target()}, Full(o.dist_linf()), Full(o.dist_l2()),
                        Full(o.dist_l1()), o.dist_l0(), int{o.broken_8bit()}, o.steps_done(),
                        o.forwards(), o.backwards(), o.zero_grads(), o.nonfinite_grads(),
                        o.nonfinite_logits(), o.claims(), o.rejected_claims(),
                        o.has_min_norm() ? Full(o.min_norm()) : std::string()),
        ",");
    out += "\n";
  }
  return out;
}

absl::StatusOr<std::string> AdversarialSet(const EvaluationResult& result, const Samples& samples,
                                           const std::vector<AttackInstance>& instances,
                                           std::map<std::string, std::string> metadata) {
  using O = v1::SampleOutcome;
  const Outcomes& all = result.outcomes;
  ASSIGN_OR_RETURN(const at::Tensor images, AllImages(result, samples));
  const auto last = static_cast<int64_t>(instances.size()) - 1;
  const at::Tensor attack_index = Column<int64_t>(all, at::kLong, [&](size_t i) {
    if (result.instance_of[i] >= 0) return static_cast<int64_t>(result.instance_of[i]);
    return result.images[i].defined() ? last : int64_t{-1};
  });
  const std::map<std::string, at::Tensor> tensors = {
      {"x_adv", images},
      {"sample_id", Integers(all, [](const O& o) { return o.sample_id(); })},
      {"label", Integers(all, [](const O& o) { return o.label(); })},
      {"pred_clean", Integers(all, [](const O& o) { return o.clean_pred(); })},
      {"pred_adv", Integers(all, [](const O& o) { return o.adv_pred(); })},
      {"target", Integers(all, [](const O& o) { return o.target(); })},
      {"success", Flags(all, [](const O& o) { return o.adv_pred() != o.label(); })},
      {"attack_index", attack_index},
      {"margin_clean", Floats(all, [](const O& o) { return o.clean_margin(); })},
      {"margin_adv", Floats(all, [](const O& o) { return o.final_margin(); })},
      {"linf", Floats(all, [](const O& o) { return o.dist_linf(); })},
      {"l2", Floats(all, [](const O& o) { return o.dist_l2(); })},
      {"l1", Floats(all, [](const O& o) { return o.dist_l1(); })},
      {"l0", Floats(all, [](const O& o) { return static_cast<double>(o.dist_l0()); })},
      {"queries", Integers(all, [](const O& o) { return o.forwards(); })},
      {"steps", Integers(all, [](const O& o) { return o.steps_done(); })},
  };
  metadata["schema"] = "adamant.adv_set/1";
  metadata["model_input_range"] = "[0,1]";
  metadata["created"] = absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone());
  Describe(instances, metadata);
  return WriteSafetensors(tensors, metadata);
}

}  // namespace adamant
