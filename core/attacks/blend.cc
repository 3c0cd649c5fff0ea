// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/blend.h"

#include <limits>

#include "core/attacks/steps.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr int kCells = 4;

// Every cell of `side` pixels as its first pixel.
at::Tensor Coarse(const at::Tensor& noise, int64_t side) {
  const auto first = [&](int64_t size) {
    const at::Tensor all = at::arange(size, noise.options().dtype(at::kLong));
    return all - all.remainder(side);
  };
  return noise.index_select(2, first(noise.size(2))).index_select(3, first(noise.size(3)));
}

// Share 0: the clean images, share 1: `far`.
at::Tensor Between(const FeasibleSet& set, const at::Tensor& far, const at::Tensor& share,
                   bool clamp) {
  const at::Tensor part = PerRow(share.to(far.scalar_type()));
  const at::Tensor change = far - set.origin();
  const ThreatModel& threat = set.threat();
  const at::Tensor most = part * (threat.clip_max - threat.clip_min);
  const at::Tensor taken = clamp ? change.minimum(most).maximum(-most) : change * part;
  return (set.origin() + taken).clamp(threat.clip_min, threat.clip_max);
}

}  // namespace

at::Tensor RandomMisclassified(Search& search, int64_t draws) {
  at::Tensor far = search.set().origin();
  at::Tensor size = at::full({far.size(0)}, std::numeric_limits<double>::infinity(),
                             far.options().dtype(at::kDouble));
  const ThreatModel threat = search.set().threat();
  for (int64_t draw = 0; draw < draws && !search.empty(); ++draw) {
    const DrawAt at = search.Draw(Purpose::kStart, 0, draw);
    const at::Tensor noise =
        search.DrawEach([&](const Rng& rng, absl::Span<float> out) { rng.Uniform(at, out); });
    at::Tensor image = threat.clip_min + (threat.clip_max - threat.clip_min) *
                                             Coarse(noise, int64_t{1} << (draw % kCells));
    const at::Tensor success = search.Misclassified(search.Logits(image));
    const at::Tensor distance = RowNorm(threat.norm, image - search.set().origin());
    const at::Tensor nearer = success.logical_and(distance < size);
    far = at::where(PerRow(nearer), image, far);
    size = at::where(nearer, distance, size);
    search.ObserveNearest(image, success, 0, {&far, &size});
  }
  return far;
}

at::Tensor OntoBoundary(Search& search, at::Tensor far, int64_t halvings, bool clamp) {
  at::Tensor low = at::zeros({far.size(0)}, far.options().dtype(at::kDouble));
  at::Tensor high = at::ones_like(low);
  for (int64_t step = 1; step <= halvings && !search.empty(); ++step) {
    const at::Tensor middle = (low + high) / 2;
    at::Tensor v = Between(search.set(), far, middle, clamp);
    const at::Tensor success = search.Misclassified(search.Logits(v));
    low = at::where(success, low, middle);
    high = at::where(success, middle, high);
    search.ObserveNearest(v, success, step, {&far, &low, &high});
  }
  return Between(search.set(), far, high, clamp);
}

}  // namespace adamant
