// SPDX-License-Identifier: Apache-2.0
// Adversarial training (Madry et al. 2018, arXiv 1706.06083):  L = CE(f(x'), y),  x' from the inner
// attack; no clean term. Default attack: pgd with 7 steps of epsilon / 4 and a uniform start, under
// LINF 8/255 when the spec has no threat model. The paper's code attacks in training mode of batch
// normalisation; here the attack sees running statistics unless TrainSpec.attack_bn_mode says
// otherwise.
#include "core/objectives/objective.h"

namespace adamant {
namespace {

constexpr int kSteps = 7;
constexpr double kEpsilon = 8.0 / 255.0;

class PgdAt : public Objective {
 public:
  std::optional<InnerAttackChoice> DefaultAttack(
      const std::optional<ThreatModel>& threat) const override {
    InnerAttackChoice choice;
    choice.threat = threat.value_or(ThreatModel{.norm = Norm::kLinf, .epsilon = kEpsilon});
    choice.attack.set_name("pgd");
    auto& params = *choice.attack.mutable_params()->mutable_fields();
    params["steps"].set_number_value(kSteps);
    params["step_size"].set_number_value(choice.threat.epsilon / 4);
    params["random_start"].set_bool_value(true);
    return choice;
  }

  StepOutput Step(StepContext& context) override {
    const Batch& batch = context.batch;
    StepOutput out;
    out.adversarial = context.craft("inner", batch.images, batch.labels, {});
    const at::Tensor logits = context.Forward(out.adversarial);
    out.loss = CrossEntropy(logits, batch.labels, context.label_smoothing);
    out.terms = {{"ce_adv", out.loss.detach(), 1.0}};
    out.stats = {{"train_robust_accuracy", BatchAccuracy(logits, batch.labels)}};
    return out;
  }
};

const Registration<Objective> kPgdAt{
    {.name = "pgd_at",
     .summary = "adversarial training on the inner attack's images only",
     .paper = "Madry et al. 2018, arXiv 1706.06083"},
    [](const Params&) -> std::unique_ptr<Objective> { return std::make_unique<PgdAt>(); }};

}  // namespace
}  // namespace adamant
