// SPDX-License-Identifier: Apache-2.0
#include "core/run/optimizer.h"

#include <set>

#include "absl/strings/str_cat.h"

namespace adamant {

Optimizer::Optimizer(const v1::Optimizer& spec, NamedTensors parameters) : spec_(spec) {
  const bool adam = spec.kind() == v1::Optimizer::ADAM;
  for (auto& [name, parameter] : parameters) {
    Slot slot{.name = name, .parameter = parameter};
    slot.weight_decay =
        spec.decay_weights_only() && parameter.dim() < 2 ? 0.0 : spec.weight_decay();
    if (adam || spec.momentum() > 0) slot.first = at::zeros_like(parameter.detach());
    if (adam) {
      slot.second = at::zeros_like(parameter.detach());
      slot.steps = at::zeros({}, parameter.options().requires_grad(false));
    }
    slots_.push_back(std::move(slot));
  }
}

void Optimizer::Step(double lr) {
  const at::NoGradGuard no_grad;
  std::set<double> decays;
  for (const Slot& slot : slots_) decays.insert(slot.weight_decay);
  for (const double decay : decays) {
    const Lists lists = ListsFor(decay);
    if (!lists.parameters.empty()) Update(lists, lr, decay);
  }
}

void Optimizer::Update(const Lists& lists, double lr, double weight_decay) {
  if (spec_.kind() != v1::Optimizer::ADAM) {
    // A zero momentum buffer makes the first step equal to m = g.
    at::_fused_sgd_(lists.parameters, lists.gradients, lists.first, weight_decay, spec_.momentum(),
                    lr, /*dampening=*/0, spec_.nesterov(), /*maximize=*/false,
                    /*is_first_step=*/false);
    return;
  }
  at::_foreach_add_(lists.steps, 1);
  if (spec_.decoupled()) {
    at::_fused_adamw_(lists.parameters, lists.gradients, lists.first, lists.second, {}, lists.steps,
                      lr, spec_.beta1(), spec_.beta2(), weight_decay, spec_.eps(),
                      /*amsgrad=*/false, /*maximize=*/false);
  } else {
    at::_fused_adam_(lists.parameters, lists.gradients, lists.first, lists.second, {}, lists.steps,
                     lr, spec_.beta1(), spec_.beta2(), weight_decay, spec_.eps(),
                     /*amsgrad=*/false, /*maximize=*/false);
  }
}

Optimizer::Lists Optimizer::ListsFor(double weight_decay) const {
  Lists lists;
  for (const Slot& slot : slots_) {
    if (slot.weight_decay != weight_decay || !slot.parameter.grad().defined()) continue;
    lists.parameters.push_back(slot.parameter);
    lists.gradients.push_back(slot.parameter.grad());
    if (slot.first.defined()) lists.first.push_back(slot.first);
    if (slot.second.defined()) lists.second.push_back(slot.second);
    if (slot.steps.defined()) lists.steps.push_back(slot.steps);
  }
  return lists;
}

void Optimizer::ClearGradients() {
  for (Slot& slot : slots_) slot.parameter.mutable_grad() = at::Tensor();
}

at::Tensor Optimizer::ClipGradients(double max_norm) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const Slot& slot : slots_) {
    if (slot.parameter.grad().defined()) gradients.push_back(slot.parameter.grad());
  }
  if (gradients.empty()) return at::zeros({});
  const at::Tensor norm = at::stack(at::_foreach_norm(gradients)).norm();
  if (max_norm > 0) at::_foreach_mul_(gradients, (max_norm / norm.clamp_min(1e-12)).clamp_max(1));
  return norm;
}

NamedTensors Optimizer::State() const {
  NamedTensors state;
  for (const Slot& slot : slots_) {
    const bool adam = slot.second.defined();
    if (slot.first.defined()) {
      state.emplace_back(absl::StrCat(slot.name, adam ? ".mean" : ".momentum"), slot.first);
    }
    if (adam) {
      state.emplace_back(absl::StrCat(slot.name, ".mean_square"), slot.second);
      state.emplace_back(absl::StrCat(slot.name, ".steps"), slot.steps);
    }
  }
  return state;
}

}  // namespace adamant
