// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/victim.h"

#include <algorithm>
#include <limits>

#include "core/base/torch.h"

namespace adamant {
namespace {

at::Tensor Joined(const std::vector<at::Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

}  // namespace

FrozenModel::FrozenModel(Model& model, BatchNormMode mode)
    : model_(model), training_(model.training()) {
  for (const auto& [name, parameter] : model.Parameters()) {
    requires_grad_.emplace_back(parameter, parameter.requires_grad());
    parameter.set_requires_grad(false);
  }
  if (mode == BatchNormMode::kTrainFrozenStats) {
    for (const auto& [name, buffer] : model.Buffers()) {
      buffers_.emplace_back(buffer, buffer.detach().clone());
    }
  }
  model.Train(mode != BatchNormMode::kEval);
}

FrozenModel::~FrozenModel() {
  const c10::InferenceMode no_inference(false);
  const at::NoGradGuard no_grad;
  for (auto& [buffer, before] : buffers_) buffer.copy_(before);
  for (auto& [parameter, required] : requires_grad_) parameter.set_requires_grad(required);
  model_.Train(training_);
}

Victim::Victim(Model& model, BatchNormMode mode, int64_t compute_batch)
    : model_(model), frozen_(model, mode), compute_batch_(compute_batch) {
  TORCH_CHECK(mode == BatchNormMode::kEval || compute_batch == 0,
              "batch statistics need the whole batch in one call: compute_batch must be 0");
}

at::Tensor Victim::CallRows(const at::Tensor& all, int64_t begin, int64_t count) const {
  const at::Tensor rows = all.narrow(0, begin, count);
  const int64_t missing = CallSize(count) - count;
  if (missing == 0) return rows;
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = missing;
  return at::cat({rows, rows.narrow(0, count - 1, 1).expand(shape)});
}

void Victim::BeginCall(int64_t count) {
  if (before_call_) before_call_();
  forwards_ += count;
  padded_rows_ += CallSize(count) - count;
}

at::Tensor Victim::Logits(const at::Tensor& images) {
  std::vector<at::Tensor> parts;
  const int64_t n = images.size(0);
  for (int64_t begin = 0; begin < n; begin += CallSize(n)) {
    const int64_t count = std::min(CallSize(n), n - begin);
    BeginCall(count);
    const c10::InferenceMode inference;
    parts.push_back(model_.Logits(CallRows(images, begin, count)).narrow(0, 0, count));
  }
  const at::NoGradGuard no_grad;
  return n == 0 ? at::empty({0, info().shape.num_classes}, images.options()) : at::cat(parts);
}

LossGradient Victim::GradientCall(const at::Tensor& images, const at::Tensor& labels,
                                  const LossFunction& loss, int64_t begin, int64_t count) {
  BeginCall(count);
  backwards_ += count;
  const at::AutoGradMode grad_mode(true);
  const at::Tensor x = CallRows(images, begin, count).detach().requires_grad_(true);
  const at::Tensor logits = model_.Logits(x);
  const at::Tensor value = loss(logits, CallRows(labels, begin, count));
  at::Tensor gradient;
  if (value.requires_grad()) {
    gradient = torch::autograd::grad({value.sum()}, {x}, {}, /*retain_graph=*/false,
                                     /*create_graph=*/false, /*allow_unused=*/true)[0];
  }
  if (!gradient.defined()) gradient = at::zeros_like(x);
  const at::NoGradGuard no_grad;
  LossGradient out;
  out.gradient = gradient.detach().narrow(0, 0, count);
  out.logits = logits.detach().narrow(0, 0, count);
  const at::Tensor bad_logits = at::isfinite(out.logits).all(1).logical_not();
  out.loss = value.detach()
                 .narrow(0, 0, count)
                 .to(at::kDouble)
                 .masked_fill(bad_logits, -std::numeric_limits<double>::infinity());
  out.nonfinite = at::isfinite(out.gradient).flatten(1).all(1).logical_not();
  out.gradient = at::nan_to_num(out.gradient, 0.0, 0.0, 0.0);
  return out;
}

LossGradient Victim::Gradient(const at::Tensor& images, const at::Tensor& labels,
                              const LossFunction& loss) {
  const int64_t n = images.size(0);
  TORCH_CHECK(n > 0, "a gradient needs at least one image");
  std::vector<at::Tensor> gradients, losses, logits, nonfinite;
  for (int64_t begin = 0; begin < n; begin += CallSize(n)) {
    const int64_t count = std::min(CallSize(n), n - begin);
    LossGradient part = GradientCall(images, labels, loss, begin, count);
    gradients.push_back(std::move(part.gradient));
    losses.push_back(std::move(part.loss));
    logits.push_back(std::move(part.logits));
    nonfinite.push_back(std::move(part.nonfinite));
  }
  return {Joined(gradients), Joined(losses), Joined(logits), Joined(nonfinite)};
}

}  // namespace adamant
