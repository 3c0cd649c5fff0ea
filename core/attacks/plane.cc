// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/plane.h"

#include <stdexcept>

#include "core/attacks/plane_rows.h"
#include "core/attacks/steps.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

// Newton's method gains a factor of 2 or more each time; float32 has 24 bits.
constexpr int kNewtonSteps = 32;
// Weights are told apart by their 31 bits.
constexpr int kSelectionSteps = 31;

void CheckNorm(Norm norm) {
  if (norm == Norm::kL0) throw std::invalid_argument("a plane has no nearest point in L0");
}

at::Tensor ChangeRows(const ThreatModel& threat, const at::Tensor& points, const Planes& planes) {
  const at::Tensor from = points.contiguous();
  const at::Tensor normal = planes.normal.contiguous();
  const at::Tensor excess = planes.excess.contiguous();
  at::Tensor change = at::empty_like(from);
  const int64_t n = from.size(0);
  const int64_t size = n > 0 ? from.numel() / n : 0;
  PlaneSolver solver(size);
  for (int64_t i = 0; i < n; ++i) {
    const PlaneRow row{from.data_ptr<float>() + i * size, normal.data_ptr<float>() + i * size,
                       excess.data_ptr<double>()[i], threat.clip_min, threat.clip_max};
    float* out = change.data_ptr<float>() + i * size;
    if (threat.norm == Norm::kLinf) solver.ChangeLinf(row, out);
    if (threat.norm == Norm::kL2) solver.ChangeL2(row, out);
    if (threat.norm == Norm::kL1) solver.ChangeL1(row, out);
  }
  return change;
}

// Columns [N,1] of row sums.
at::Tensor Column(const at::Tensor& values) { return RowSum(values).unsqueeze(1); }

// min(lambda * pull, room) with sum_i weight_i * that = need; all arguments double.
at::Tensor SpreadChange(const at::Tensor& weight, const at::Tensor& pull, const at::Tensor& room,
                        const at::Tensor& need) {
  at::Tensor lambda = at::zeros_like(need);
  for (int i = 0; i < kNewtonSteps; ++i) {
    const at::Tensor reach = lambda * pull;
    const at::Tensor value = Column(weight * reach.minimum(room));
    const at::Tensor slope = Column(at::where(reach < room, weight * pull, 0.0));
    lambda = lambda + at::where(slope > 0, (need - value) / slope, 0.0).clamp_min(0);
  }
  return (lambda * pull).minimum(room);
}

at::Tensor SelectedChange(const at::Tensor& weight, const at::Tensor& room,
                          const at::Tensor& need) {
  // Floats above 0 are ordered as their bits.
  const at::Tensor bits = weight.to(at::kFloat).view(at::kInt).to(at::kLong);
  const at::Tensor mass = weight * room;
  const auto held = [&](const at::Tensor& chosen) { return Column(at::where(chosen, mass, 0.0)); };
  at::Tensor low = at::zeros_like(need, at::kLong);
  at::Tensor high = bits.amax(1, /*keepdim=*/true) + 1;
  for (int i = 0; i < kSelectionSteps; ++i) {
    const at::Tensor middle = at::bitwise_right_shift(low + high, at::Scalar(1));
    const at::Tensor enough = held(bits >= middle) >= need;
    low = at::where(enough, middle, low);
    high = at::where(enough, high, middle);
  }
  const at::Tensor larger = bits > low;
  const at::Tensor equal = bits == low;
  const at::Tensor here = held(equal);
  const at::Tensor share = at::where(here > 0, (need - held(larger)) / here, 0.0).clamp(0.0, 1.0);
  return room * at::where(larger, 1.0, at::where(equal, share, 0.0));
}

}  // namespace

at::Tensor ChangeOntoPlanesByTensors(const ThreatModel& threat, const at::Tensor& points,
                                     const Planes& planes) {
  CheckNorm(threat.norm);
  const at::Tensor point = points.flatten(1).to(at::kDouble);
  const at::Tensor normal = planes.normal.flatten(1).to(at::kDouble);
  const at::Tensor weight = normal.abs();
  const at::Tensor direction =
      normal.sign() * at::where(planes.excess >= 0, -1.0, 1.0).to(at::kDouble).unsqueeze(1);
  const at::Tensor room =
      (at::where(direction > 0, threat.clip_max - point, point - threat.clip_min).clamp_min(0)) *
      direction.abs();
  const at::Tensor need = planes.excess.abs().unsqueeze(1);
  const at::Tensor size =
      threat.norm == Norm::kL1
          ? SelectedChange(weight, room, need)
          : SpreadChange(weight, threat.norm == Norm::kL2 ? weight : weight.sign(), room, need);
  const at::Tensor unreachable = need >= Column(weight * room);
  return (direction * at::where(unreachable, room, size))
      .to(points.scalar_type())
      .view(points.sizes());
}

at::Tensor ChangeOntoPlanes(const ThreatModel& threat, const at::Tensor& points,
                            const Planes& planes) {
  CheckNorm(threat.norm);
  if (!points.is_cpu() || points.scalar_type() != at::kFloat) {
    return ChangeOntoPlanesByTensors(threat, points, planes);
  }
  return ChangeRows(threat, points, planes);
}

}  // namespace adamant
