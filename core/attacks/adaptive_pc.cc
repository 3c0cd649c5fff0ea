// SPDX-License-Identifier: Apache-2.0
// Attack on prototype conformity (PCL: Mustafa et al. 2019, arXiv 1904.00887, Table 3): a base
// attack ascends L(v) + w * sum_l PC_l(f_l(v)) with the prototypes of the checkpoint, which stay as
// they are; see PrototypeConformity, whose form is that of the stored prototypes.
//   joint              both;       pc_only  w * sum_l PC_l alone
//   nearest_prototype  ||f - c_y|| - min_{j != y} ||f - c_j|| at the last tap alone
// w = 0 is the base attack.
#include <algorithm>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/attacks/ascent.h"
#include "core/models/prototypes.h"

namespace adamant {
namespace {

class AdaptivePc final : public Attack {
 public:
  explicit AdaptivePc(const Params& params)
      : base_(params),
        weight_(params.Real("w")),
        taps_(params.TextList("taps")),
        variant_(params.Text("variant")),
        push_weight_(params.Real("push_weight")) {}

  absl::Status CheckModel(const Model& model) const override {
    return weight_ == 0 ? absl::OkStatus() : Chosen(model).status();
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (weight_ == 0) return base_.Run(victim, batch, threat, settings, control, {});
    auto chosen = Chosen(victim.model());
    if (!chosen.ok()) throw std::invalid_argument(std::string(chosen.status().message()));
    for (Prototypes& one : *chosen) {
      for (at::Tensor* part : {&one.pull, &one.push, &one.aux_weight, &one.aux_bias}) {
        if (part->defined()) *part = part->to(batch.images.device());
      }
    }
    return base_.Run(victim, batch, threat, settings, control,
                     [&](Search&) { return Loss(*chosen); });
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    return LossNotes(base_.options(), num_classes);
  }

 private:
  absl::StatusOr<std::vector<Prototypes>> Chosen(const Model& model) const {
    auto all = PrototypesOf(model);
    if (!all.ok()) return all;
    std::vector<Prototypes> out;
    for (const std::string& name : taps_) {
      const absl::StatusOr<Tap> tap = model.FindTap(name);
      if (!tap.ok()) return tap.status();
      const auto found = std::find_if(all->begin(), all->end(),
                                      [&](const Prototypes& one) { return one.tap == tap->name; });
      if (found == all->end()) {
        return absl::FailedPreconditionError(
            absl::StrCat("the model carries no prototypes of layer \"", name, "\""));
      }
      out.push_back(*found);
    }
    if (taps_.empty()) out = *std::move(all);
    if (variant_ == "nearest_prototype") out.erase(out.begin(), out.end() - 1);
    return out;
  }

  at::Tensor Term(const Prototypes& one, const at::Tensor& tap, const at::Tensor& labels) const {
    const at::Tensor features = PrototypeFeatures(one, tap);
    if (variant_ == "nearest_prototype") return PrototypeLead(one, features, labels);
    const double by_form = one.push.defined() ? 1e-4 : 1;
    return PrototypeConformity(one, features, labels, push_weight_ > 0 ? push_weight_ : by_form);
  }

  TapLoss Loss(const std::vector<Prototypes>& chosen) const {
    TapLoss loss;
    for (const Prototypes& one : chosen) loss.taps.push_back(one.tap);
    loss.values = [this, chosen,
                   base = base_.Summand()](const SeenPass& pass) -> std::vector<at::Tensor> {
      at::Tensor sum = Term(chosen[0], pass.taps[0], pass.aims.labels);
      for (size_t i = 1; i < chosen.size(); ++i) {
        sum = sum + Term(chosen[i], pass.taps[i], pass.aims.labels);
      }
      if (variant_ != "joint") return {weight_ * sum};
      return {base(pass.logits, pass.aims) + weight_ * sum};
    };
    return loss;
  }

  const BaseAttack base_;
  const double weight_;
  const std::vector<std::string> taps_;
  const std::string variant_;
  const double push_weight_;
};

const Registration<Attack> kAdaptivePc{
    {.name = "adaptive_pc",
     .summary = "a base attack that also leaves the prototype of the label",
     .paper = "Mustafa et al. 2019, arXiv 1904.00887",
     .params = Joined(
         AscentParams(40, "madry", 100000),
         {Choice("base", "pgd", {"pgd", "bim", "mi_fgsm", "fgsm"}).Doc("base attack"),
          Real("mu", 1).Range(0, 10).Doc("momentum of mi_fgsm"),
          Real("w", 1).Range(0, 1000).Doc("weight of the distance to prototypes"),
          TextList("taps", {}).Doc("layers, added up; none: all that have prototypes"),
          Choice("variant", "joint", {"joint", "pc_only", "nearest_prototype"})
              .Doc("what is ascended; nearest_prototype: at the last layer"),
          Real("push_weight", 0)
              .Range(0, 1e6)
              .Doc("of the other classes' prototypes; 0: 1, or 1e-4 where push has its own set")}),
     .norms = {"linf"},
     .traits = {"heuristic", "looks_inside"},
     .test_params = {{"steps", 10}, {"w", 0.1}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<AdaptivePc>(params);
    }};

}  // namespace
}  // namespace adamant
