// SPDX-License-Identifier: Apache-2.0
// PGD against defences that keep maps or features of x and x' together: it ascends
//   L(v) + w * D(v, x),  D the sum over taps of
//   cam_l1             ||M_y(v) - M_y(x)||_1, M_y the class map of the label behind its ReLU, with
//                      Grad-CAM's weights times h*w: CAM behind global average pooling;
//   spatial_attention  ||q(v) - q(x)||_2, q the scaled map sum_c A_c^2;
//   feature_l2         ||A(v) - A(x)||_2;     logit_l2  ||z(v) - z(x)||_2.
// w = 0 is pgd. Our own choice. The clean maps take one forward pass more than pgd; class maps
// without closed form one more gradient per pass. Clean logits that are known cost nothing.
#include <algorithm>
#include <stdexcept>
#include <utility>

#include "core/attacks/ascent.h"
#include "core/base/torch.h"
#include "core/models/activation_map.h"

namespace adamant {
namespace {

class AdaptiveMap final : public Attack {
 public:
  explicit AdaptiveMap(const Params& params)
      : base_(params),
        weight_(params.Real("w")),
        distance_(params.Text("distance")),
        taps_(params.TextList("taps")) {}

  absl::Status CheckModel(const Model& model) const override { return Taps(model.info()).status(); }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (weight_ == 0) return base_.Run(victim, batch, threat, settings, control, {});
    const auto taps = Taps(victim.info());
    if (!taps.ok()) throw std::invalid_argument(std::string(taps.status().message()));
    const View view{*taps, Heads(victim, *taps)};
    return base_.Run(victim, batch, threat, settings, control,
                     [&](Search& search) { return Loss(search, view); });
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    return LossNotes(base_.options(), num_classes);
  }

 private:
  struct View {
    std::vector<std::string> taps;
    std::vector<at::Tensor> heads;  // cam_l1: weights of the closed form; undefined: by gradient

    int64_t gradients() const {
      return std::count_if(heads.begin(), heads.end(),
                           [](const at::Tensor& head) { return !head.defined(); });
    }
  };

  absl::StatusOr<std::vector<std::string>> Taps(const ModelInfo& info) const {
    if (weight_ == 0 || distance_ == "logit_l2") return std::vector<std::string>();
    return TapsOf(info, taps_, /*maps=*/distance_ != "feature_l2");
  }

  std::vector<at::Tensor> Heads(const Victim& victim, const std::vector<std::string>& taps) const {
    std::vector<at::Tensor> heads;
    if (distance_ != "cam_l1") return heads;
    for (const std::string& tap : taps) {
      heads.push_back(tap == victim.info().default_tap ? victim.model().GapHead().first
                                                       : at::Tensor());
    }
    return heads;
  }

  // What is kept together, one tensor per tap.
  std::vector<at::Tensor> Features(const SeenPass& pass, const View& view) const {
    if (distance_ == "logit_l2") return {pass.logits};
    if (distance_ == "feature_l2") return pass.taps;
    std::vector<at::Tensor> maps;
    for (size_t i = 0; i < pass.taps.size(); ++i) {
      const at::Tensor& tap = pass.taps[i];
      if (distance_ == "spatial_attention") {
        maps.push_back(SpatialAttention(tap));
      } else {
        const auto cells = static_cast<double>(tap.size(2) * tap.size(3));
        maps.push_back(
            (LogitMap(pass.logits, tap, pass.aims.labels, view.heads[i]) * cells).relu());
      }
    }
    return maps;
  }

  at::Tensor Size(const at::Tensor& change) const {
    return change.flatten(1).norm(distance_ == "cam_l1" ? 1 : 2, {1});
  }

  TapLoss Loss(Search& search, const View& view) const {
    const auto features = [this, view](const SeenPass& pass) { return Features(pass, view); };
    const std::vector<at::Tensor> clean =
        distance_ == "logit_l2"
            ? std::vector{search.clean_logits()}
            : search.Values(search.set().origin(),
                            {.taps = view.taps, .values = features, .backwards = view.gradients()});
    TapLoss loss{.taps = view.taps, .backwards = 1 + view.gradients()};
    loss.values = [this, features, clean,
                   base = base_.Summand()](const SeenPass& pass) -> std::vector<at::Tensor> {
      const std::vector<at::Tensor> now = features(pass);
      at::Tensor value = base(pass.logits, pass.aims);
      for (size_t i = 0; i < now.size(); ++i) {
        value = value + weight_ * Size(now[i] - clean[i].index_select(0, pass.rows));
      }
      return {value};
    };
    return loss;
  }

  const BaseAttack base_;
  const double weight_;
  const std::string distance_;
  const std::vector<std::string> taps_;
};

const Registration<Attack> kAdaptiveMap{
    {.name = "adaptive_map",
     .summary = "pgd that also moves the maps or features a defence keeps together",
     .params = Joined(
         AscentParams(40, "madry", 100000),
         {Real("w", 1).Range(0, 1000).Doc("weight of the distance"),
          Choice("distance", "cam_l1", {"cam_l1", "spatial_attention", "feature_l2", "logit_l2"})
              .Doc("between the perturbed and the clean image"),
          TextList("taps", {}).Doc("layers, added up; none: the model's default")}),
     .norms = {"linf"},
     .traits = {"heuristic", "looks_inside"},
     .test_params = {{"steps", 10}, {"w", 0.1}}},
    [](const Params& params) -> std::unique_ptr<Attack> {
      return std::make_unique<AdaptiveMap>(params);
    }};

}  // namespace
}  // namespace adamant
