// SPDX-License-Identifier: Apache-2.0
#include "core/objectives/objective.h"

#include <algorithm>
#include <cmath>

namespace adamant {

at::Tensor StepContext::Forward(const at::Tensor& images) {
  forwards += images.size(0);
  return model.Logits(images);
}

std::optional<InnerAttackChoice> Objective::DefaultAttack(
    const std::optional<ThreatModel>& /*threat*/) const {
  return std::nullopt;
}

absl::Status Objective::Prepare(const Model& /*model*/) { return absl::OkStatus(); }

void Objective::AfterBackward(Model& /*model*/) {}

void Objective::AfterOptimizerStep(Model& /*model*/) {}

at::Tensor CrossEntropy(const at::Tensor& logits, const at::Tensor& labels,
                        double label_smoothing) {
  return at::cross_entropy_loss(logits, labels, /*weight=*/{}, at::Reduction::Mean,
                                /*ignore_index=*/-100, label_smoothing);
}

at::Tensor BatchAccuracy(const at::Tensor& logits, const at::Tensor& labels) {
  return logits.detach().argmax(1).eq(labels).to(at::kFloat).mean();
}

double Ramp(double share, int64_t step, int64_t total_steps) {
  const double length = std::ceil(share * static_cast<double>(total_steps));
  return length > 0 ? std::min(1.0, static_cast<double>(step + 1) / length) : 1.0;
}

}  // namespace adamant
