// SPDX-License-Identifier: Apache-2.0
// Attention-augmented attack (AAD, section 4.3, equations 11-13). g(v) is Grad-CAM of the class
// that is predicted for the clean image x, at the last convolution, M = 1[g(x) >= kappa] and
//   AAL(v) = mean over cells |M - g(v)|,   g(v) scaled to [0,1] by its own smallest and largest,
// and a base attack ascends L(v) + sigma * AAL(v): fgsm and pgd the cross-entropy of the label,
// step_ll and iter_step_ll minus that of the least likely class of x. sigma = 0 is the base attack.
//
// There is no public code. The step, the class of the map, its scaling and the reduction are our
// choice; equation 11 is printed with a minus sign, but the text wants attention to deviate, so AAL
// grows. The scaling is differentiated as well. Behind global average pooling and a linear layer
// g has a closed form, elsewhere a pass takes one more gradient. A map that is 0 everywhere has an
// empty M. With the mean, sigma = 10 need not make the base attack stronger.
#include <stdexcept>
#include <utility>

#include "core/attacks/ascent.h"
#include "core/base/torch.h"
#include "core/models/activation_map.h"

namespace adamant {
namespace {

class A3 final : public Attack {
 public:
  explicit A3(const Params& params)
      : base_(params),
        sigma_(params.Real("sigma")),
        sum_(params.Text("reduction") == "sum"),
        scaled_(params.Text("normalise") == "minmax"),
        balanced_(params.Text("balance") == "grad_l1"),
        constant_weights_(params.Bool("alpha_detached")),
        mean_kappa_(params.Text("kappa") == "mean"),
        kappa_(params.Real("kappa_value")) {}

  absl::Status CheckModel(const Model& model) const override {
    return sigma_ == 0 ? absl::OkStatus() : TapsOf(model.info(), {}, /*maps=*/true).status();
  }

  AttackResult Run(Victim& victim, const Batch& batch, const ThreatModel& threat,
                   const AttackSettings& settings, const RunControl& control) const override {
    if (sigma_ == 0) return base_.Run(victim, batch, threat, settings, control, {});
    const auto taps = TapsOf(victim.info(), {}, /*maps=*/true);
    if (!taps.ok()) throw std::invalid_argument(std::string(taps.status().message()));
    const at::Tensor head = victim.model().GapHead().first;
    at::Tensor empty;
    const auto make = [&](Search& search) {
      const Attention clean = CleanAttention(search, *taps, head);
      empty = clean.empty;
      return Loss(clean, *taps, head);
    };
    AttackResult result = base_.Run(victim, batch, threat, settings, control, make);
    result.counts.empty_maps =
        empty.defined() ? empty.to(at::kLong) : at::zeros_like(result.counts.steps);
    return result;
  }

  std::vector<std::string> Notes(int64_t num_classes) const override {
    return LossNotes(base_.options(), num_classes);
  }

 private:
  // Of the clean images, a row each.
  struct Attention {
    at::Tensor classes;  // int64 [N]: whose map is taken
    at::Tensor mask;     // M, [N,h,w]
    at::Tensor empty;    // bool [N]: the map is 0
  };

  at::Tensor Map(const SeenPass& pass, const at::Tensor& classes, const at::Tensor& head) const {
    return LogitMap(pass.logits, pass.taps[0], classes, head, constant_weights_).relu();
  }

  at::Tensor Scaled(const at::Tensor& map) const { return scaled_ ? MinMaxScaled(map) : map; }

  Attention CleanAttention(Search& search, const std::vector<std::string>& taps,
                           const at::Tensor& head) const {
    const auto look = [&](const SeenPass& pass) -> std::vector<at::Tensor> {
      const at::Tensor classes = Predictions(pass.logits.detach());
      return {classes, Map(pass, classes, head)};
    };
    const std::vector<at::Tensor> seen = search.Values(
        search.set().origin(), {.taps = taps, .values = look, .backwards = head.defined() ? 0 : 1});
    const at::Tensor& map = seen[1];
    const at::Tensor attended =
        mean_kappa_ ? map >= map.mean({1, 2}, /*keepdim=*/true) : Scaled(map) >= kappa_;
    const at::Tensor empty = map.amax({1, 2}) <= 0;
    return {seen[0], attended.logical_and(empty.logical_not().view({-1, 1, 1})).to(map), empty};
  }

  TapLoss Loss(const Attention& clean, const std::vector<std::string>& taps,
               const at::Tensor& head) const {
    TapLoss loss{.taps = taps};
    loss.backwards = (head.defined() ? 1 : 2) + (balanced_ ? 1 : 0);
    loss.values = [this, clean, head,
                   base = base_.Summand()](const SeenPass& pass) -> std::vector<at::Tensor> {
      const at::Tensor map = Scaled(Map(pass, clean.classes.index_select(0, pass.rows), head));
      at::Tensor distance = RowSum((clean.mask.index_select(0, pass.rows) - map).abs());
      if (!sum_) distance = distance / static_cast<double>(map[0].numel());
      const at::Tensor value = base(pass.logits, pass.aims);
      if (balanced_) return {value, distance};
      return {value + sigma_ * distance};
    };
    if (!balanced_) return loss;
    loss.join = [sigma = sigma_](const std::vector<at::Tensor>& gradients) {
      const at::Tensor scale =
          sigma * RowSum(gradients[0].abs()) / RowSum(gradients[1].abs()).clamp_min(1e-12);
      return gradients[0] + PerRow(scale) * gradients[1];
    };
    return loss;
  }

  const BaseAttack base_;
  const double sigma_;
  const bool sum_;
  const bool scaled_;
  const bool balanced_;
  const bool constant_weights_;
  const bool mean_kappa_;
  const double kappa_;
};

const Registration<Attack> kA3{
    {.name = "a3",
     .summary = "a base attack that also draws attention away from where it was",
     .paper = "AAD, section 4.3",
     .params = Joined(
         AscentParams(3, "eps_div_steps", 1000),
         {Choice("base", "pgd", {"fgsm", "pgd", "step_ll", "iter_step_ll"}).Doc("base attack"),
          Real("sigma", 10).Range(0, 1e4).Doc("weight of the distance of attention"),
          Choice("reduction", "mean", {"mean", "sum"}).Doc("of the distance, over cells"),
          Choice("normalise", "minmax", {"minmax", "none"}).Doc("scale of a map"),
          Choice("balance", "none", {"none", "grad_l1"})
              .Doc("grad_l1: the gradient of the distance gets sigma times the L1 norm of the "
                   "loss's"),
          Bool("alpha_detached", false).Doc("weights of the channels are constants"),
          Choice("kappa", "mean", {"mean", "value"})
              .Doc("where attention begins: at the mean of the clean map, or at kappa_value"),
          Real("kappa_value", 0.5).Range(0, 1e6).Doc("for kappa = value, after normalise")}),
     .norms = {"linf"},
     .traits = {"heuristic", "looks_inside"},
     .test_params = {{"sigma", 0.5}}},
    [](const Params& params) -> std::unique_ptr<Attack> { return std::make_unique<A3>(params); }};

}  // namespace
}  // namespace adamant
