// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/shrink.h"

#include <stdexcept>

#include "core/attacks/steps.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kTiny = 1e-12;

// Onto the L1 balls of these radii, by the closed form over sorted sizes.
at::Tensor ShrinkL1(const at::Tensor& change, const at::Tensor& radius) {
  const at::Tensor size = change.flatten(1).to(at::kDouble).abs();
  const at::Tensor sorted = std::get<0>(size.sort(/*dim=*/1, /*descending=*/true));
  const at::Tensor over = sorted.cumsum(1) - radius.unsqueeze(1);
  const at::Tensor count = at::arange(1, size.size(1) + 1, size.options());
  const at::Tensor used = (sorted * count > over).sum(1, /*keepdim=*/true).clamp_min(1);
  const at::Tensor cut = (over.gather(1, used - 1) / used).clamp_min(0);
  return ((size - cut).clamp_min(0) * change.flatten(1).sign()).to(at::kFloat).view_as(change);
}

// The `radius` pixels that changed most.
at::Tensor KeepPixels(const at::Tensor& change, const at::Tensor& radius) {
  const at::Tensor size = change.square().sum(1).flatten(1);
  const at::Tensor order = at::argsort(size, /*stable=*/true, /*dim=*/1, /*descending=*/true);
  const at::Tensor rank = at::empty_like(order).scatter_(
      1, order, at::arange(size.size(1), order.options()).expand_as(order));
  const at::Tensor mask = (rank < radius.unsqueeze(1)).to(change.scalar_type());
  return change * mask.view({change.size(0), 1, change.size(2), change.size(3)});
}

}  // namespace

at::Tensor Shrink(Norm norm, const at::Tensor& change, const at::Tensor& radius) {
  switch (norm) {
    case Norm::kLinf: {
      const at::Tensor most = PerRow(radius.to(change.scalar_type()));
      return change.minimum(most).maximum(-most);
    }
    case Norm::kL2: {
      const at::Tensor scale = radius / RowNorm(norm, change).clamp_min(kTiny);
      return change * PerRow(scale.clamp_max(1).to(change.scalar_type()));
    }
    case Norm::kL1:
      return ShrinkL1(change, radius);
    case Norm::kL0:
      return KeepPixels(change, radius);
  }
  throw std::invalid_argument("unknown norm");
}

at::Tensor Proximal(Norm norm, const at::Tensor& change, const at::Tensor& weight) {
  const at::Tensor w = PerRow(weight.to(change.scalar_type()));
  switch (norm) {
    case Norm::kLinf:  // what the projection onto the dual ball leaves
      return change - ShrinkL1(change, weight);
    case Norm::kL2: {
      const at::Tensor size = RowNorm(norm, change).clamp_min(kTiny);
      return change * PerRow((1 - weight / size).clamp_min(0).to(change.scalar_type()));
    }
    case Norm::kL1:
      return change.sign() * (change.abs() - w).clamp_min(0);
    case Norm::kL0:
      return change * (change.square().sum(1, /*keepdim=*/true) > 2 * w);
  }
  throw std::invalid_argument("unknown norm");
}

// u = sign(t) ((b + sqrt(2 |t| / b - b^2)) / 2)^3 with b the square root of the real root of the
// resolvent cubic; 0 where |t| is below 2 (2 w / 3)^(3/4), where no stationary point is better.
at::Tensor ProximalTwoThirds(const at::Tensor& change, const at::Tensor& weight) {
  const at::Tensor t = change.to(at::kDouble).abs();
  const at::Tensor w = PerRow(weight);
  const at::Tensor square = t.square() / 16;
  const at::Tensor root = (t.pow(4) / 256 - 8 * w.pow(3) / 729).clamp_min(0).sqrt();
  const at::Tensor a =
      2 * ((square + root).pow(1.0 / 3) + (square - root).clamp_min(0).pow(1.0 / 3));
  const at::Tensor b = a.sqrt();
  const at::Tensor u = ((b + (2 * t / b.clamp_min(kTiny) - a).clamp_min(0).sqrt()).pow(3) / 8);
  const at::Tensor kept = t > 2 * (2 * w / 3).pow(0.75);
  return (at::where(kept, u, 0.0) * change.sign()).to(change.scalar_type());
}

}  // namespace adamant
