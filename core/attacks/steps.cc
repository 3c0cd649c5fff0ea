// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/steps.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kTiny = 1e-12;
constexpr int kBisections = 40;

at::Tensor RowNorm2(const at::Tensor& values) { return RowSum(values * values).sqrt(); }

// lambda >= 0 per row with sum_i clamp(size_i - lambda, 0, room_i) = radius, where the sum exceeds
// it: bisection, then the exact value on the piece that was found. Arguments double [N,D].
at::Tensor ShrinkThreshold(const at::Tensor& size, const at::Tensor& room, double radius) {
  at::Tensor low = at::zeros({size.size(0), 1}, size.options());
  at::Tensor high = size.amax(1, /*keepdim=*/true);
  const auto total = [&](const at::Tensor& lambda) {
    return RowSum((size - lambda).clamp_min(0).minimum(room)).unsqueeze(1);
  };
  for (int i = 0; i < kBisections; ++i) {
    const at::Tensor middle = (low + high) / 2;
    const at::Tensor above = total(middle) > radius;
    low = at::where(above, middle, low);
    high = at::where(above, high, middle);
  }
  const at::Tensor rest = size - high;
  const at::Tensor capped = rest >= room;
  const at::Tensor sloped = (size > low).logical_and(capped.logical_not());
  const at::Tensor count = RowSum(sloped.to(at::kDouble)).unsqueeze(1);
  const at::Tensor exact =
      (RowSum(at::where(sloped, size, at::where(capped, room, 0.0))).unsqueeze(1) - radius) /
      count.clamp_min(1);
  const at::Tensor lambda = at::where(count > 0, exact.maximum(low).minimum(high), high);
  const at::Tensor zero = at::zeros_like(lambda);
  return at::where(total(zero) > radius, lambda, zero);
}

// u^(1/D), the radius of a uniform point in a D-dimensional ball of radius 1.
double BallRadius(const Rng& rng, DrawAt at, size_t dimensions) {
  float u = 0;
  at.draw = 1;
  rng.Uniform(at, absl::MakeSpan(&u, 1));
  return std::pow(static_cast<double>(u), 1.0 / static_cast<double>(dimensions));
}

void Scale(absl::Span<float> values, double factor) {
  for (float& value : values) value = static_cast<float>(value * factor);
}

void DrawInL2Ball(const Rng& rng, const DrawAt& at, double epsilon, absl::Span<float> out) {
  rng.Normal(at, out);
  double sum = 0;
  for (const float value : out) sum += static_cast<double>(value) * value;
  Scale(out, epsilon * BallRadius(rng, at, out.size()) / std::max(std::sqrt(sum), kTiny));
}

void DrawInL1Ball(const Rng& rng, DrawAt at, double epsilon, absl::Span<float> out) {
  std::vector<float> signs(out.size());
  rng.UniformOpen(at, out);
  const double radius = BallRadius(rng, at, out.size());
  at.draw = 2;
  rng.Signs(at, absl::MakeSpan(signs));
  double sum = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    sum -= std::log(static_cast<double>(out[i]));
    out[i] = -signs[i] * std::log(out[i]);
  }
  Scale(out, epsilon * radius / std::max(sum, kTiny));
}

// Row values: the new value of each chosen pixel, -1 elsewhere.
void DrawPixels(const Rng& rng, DrawAt at, int64_t pixels, int64_t chosen, absl::Span<float> out) {
  std::vector<int64_t> order(static_cast<size_t>(pixels));
  rng.Permutation(at, absl::MakeSpan(order));
  at.draw = 1;
  std::vector<float> values(out.size());
  rng.Uniform(at, absl::MakeSpan(values));
  std::fill(out.begin(), out.end(), -1.0F);
  for (int64_t i = 0; i < std::min(chosen, pixels); ++i) {
    for (size_t j = static_cast<size_t>(order[i]); j < out.size(); j += pixels) out[j] = values[j];
  }
}

}  // namespace

at::Tensor DrawRows(const at::Tensor& like, const at::Tensor& ids, uint64_t seed,
                    const std::string& stream,
                    const std::function<void(const Rng&, absl::Span<float>)>& draw) {
  const at::Tensor rows = at::empty(like.sizes(), at::kFloat);
  const at::Tensor host_ids = ids.cpu();
  const int64_t n = rows.size(0);
  const int64_t values = n > 0 ? rows.numel() / n : 0;
  float* out = rows.data_ptr<float>();
  for (int64_t i = 0; i < n; ++i) {
    draw(Rng(seed, stream, host_ids.data_ptr<int64_t>()[i]),
         absl::MakeSpan(out + i * values, static_cast<size_t>(values)));
  }
  return rows.to(like.device());
}

at::Tensor RowSum(const at::Tensor& values) {
  // A single row may be summed by several threads, which rounds otherwise: make it two.
  if (values.size(0) == 1) {
    const at::Tensor row = values.flatten(1);
    return at::cat({row, row}).sum(1).narrow(0, 0, 1);
  }
  return values.flatten(1).sum(1);
}

at::Tensor RowNorm(Norm norm, const at::Tensor& change) {
  const at::Tensor size = change.to(at::kDouble).abs();
  switch (norm) {
    case Norm::kLinf:
      return size.flatten(1).amax(1);
    case Norm::kL2:
      return RowNorm2(size);
    case Norm::kL1:
      return RowSum(size);
    case Norm::kL0:
      return (size.sum(1) > 0).flatten(1).sum(1).to(at::kDouble);
  }
  throw std::invalid_argument("unknown norm");
}

double ClaimDistance(const ThreatModel& threat) {
  switch (threat.norm) {
    case Norm::kLinf:
      return threat.epsilon * (1 + 1e-6) + 1e-7;
    case Norm::kL0:
      return threat.epsilon;
    default:
      return threat.epsilon * (1 + 1e-5) + 1e-6;
  }
}

at::Tensor PerRow(const at::Tensor& values) { return values.view({-1, 1, 1, 1}); }

FeasibleSet::FeasibleSet(const at::Tensor& origin, const ThreatModel& threat)
    : origin_(origin), threat_(threat) {
  if (threat.norm != Norm::kLinf) return;
  low_ = (origin - threat.epsilon).clamp_(threat.clip_min, threat.clip_max);
  high_ = (origin + threat.epsilon).clamp_(threat.clip_min, threat.clip_max);
}

FeasibleSet FeasibleSet::Select(const at::Tensor& keep) const {
  FeasibleSet part = *this;
  part.origin_ = origin_.index_select(0, keep);
  if (low_.defined()) {
    part.low_ = low_.index_select(0, keep);
    part.high_ = high_.index_select(0, keep);
  }
  return part;
}

at::Tensor FeasibleSet::Project(const at::Tensor& images) const {
  switch (threat_.norm) {
    case Norm::kLinf:
      return at::clamp(images, low_, high_);
    case Norm::kL2:
      return ProjectL2(images);
    case Norm::kL1:
      return ProjectL1(images);
    case Norm::kL0:
      return ProjectL0(images);
  }
  throw std::invalid_argument("unknown norm");
}

at::Tensor FeasibleSet::ProjectL2(const at::Tensor& images) const {
  const at::Tensor change = images - origin_;
  const at::Tensor factor = (threat_.epsilon / RowNorm2(change).clamp_min(kTiny)).clamp_max(1);
  return (origin_ + change * PerRow(factor)).clamp_(threat_.clip_min, threat_.clip_max);
}

at::Tensor FeasibleSet::ProjectL1(const at::Tensor& images) const {
  const at::Tensor change = (images - origin_).flatten(1).to(at::kDouble);
  const at::Tensor x = origin_.flatten(1).to(at::kDouble);
  const at::Tensor room = at::where(change > 0, threat_.clip_max - x, x - threat_.clip_min);
  const at::Tensor size = change.abs();
  const at::Tensor lambda = ShrinkThreshold(size, room, threat_.epsilon);
  const at::Tensor moved = (size - lambda).clamp_min(0).minimum(room) * change.sign();
  return (x + moved)
      .to(origin_.scalar_type())
      .view(origin_.sizes())
      .clamp_(threat_.clip_min, threat_.clip_max);
}

at::Tensor FeasibleSet::ProjectL0(const at::Tensor& images) const {
  const at::Tensor boxed = images.clamp(threat_.clip_min, threat_.clip_max);
  const at::Tensor change = (boxed - origin_).square().sum(1).flatten(1);
  const int64_t kept = std::min(static_cast<int64_t>(threat_.epsilon), change.size(1));
  const at::Tensor order =
      at::argsort(change, /*stable=*/true, /*dim=*/1, /*descending=*/true).narrow(1, 0, kept);
  at::Tensor mask = at::zeros(change.sizes(), change.options().dtype(at::kBool));
  mask.scatter_(1, order, true);
  mask = mask.view({images.size(0), 1, images.size(2), images.size(3)});
  return at::where(mask, boxed, origin_);
}

at::Tensor RandomStart(const FeasibleSet& set, const at::Tensor& ids, uint64_t seed,
                       const std::string& stream, const DrawAt& at) {
  const at::Tensor& x = set.origin();
  const double epsilon = set.threat().epsilon;
  const int64_t pixels = x.size(2) * x.size(3);
  const auto draw = [&](const Rng& rng, absl::Span<float> out) {
    switch (set.threat().norm) {
      case Norm::kLinf:
        return rng.Uniform(at, out);
      case Norm::kL2:
        return DrawInL2Ball(rng, at, epsilon, out);
      case Norm::kL1:
        return DrawInL1Ball(rng, at, epsilon, out);
      case Norm::kL0:
        return DrawPixels(rng, at, pixels, static_cast<int64_t>(epsilon), out);
    }
  };
  const at::Tensor drawn = DrawRows(x, ids, seed, stream, draw);
  if (set.threat().norm == Norm::kLinf) return set.Project(x + epsilon * (2 * drawn - 1));
  if (set.threat().norm == Norm::kL0) return set.Project(at::where(drawn < 0, x, drawn));
  return set.Project(x + drawn);
}

at::Tensor SurfaceStart(const FeasibleSet& set, const at::Tensor& ids, uint64_t seed,
                        const std::string& stream, const DrawAt& at) {
  const Norm norm = set.threat().norm;
  if (norm == Norm::kL0) throw std::invalid_argument("an L0 ball has no surface to start on");
  const at::Tensor& x = set.origin();
  const at::Tensor drawn =
      DrawRows(x, ids, seed, stream, [&](const Rng& rng, absl::Span<float> out) {
        norm == Norm::kLinf ? rng.Uniform(at, out) : rng.Normal(at, out);
      });
  if (norm == Norm::kL1) return set.Project(x + drawn);
  const at::Tensor t = norm == Norm::kL2 ? drawn : 2 * drawn - 1;
  const at::Tensor size = norm == Norm::kL2 ? RowNorm2(t) : t.flatten(1).abs().amax(1);
  return set.Project(x + set.threat().epsilon * t / PerRow(size.clamp_min(kTiny)));
}

at::Tensor StepDirection(Norm norm, const at::Tensor& gradient, double sparsity) {
  switch (norm) {
    case Norm::kLinf:
      return gradient.sign();
    case Norm::kL2:
      return gradient / PerRow(RowNorm2(gradient) + kTiny);
    case Norm::kL1: {
      const at::Tensor size = gradient.flatten(1).abs();
      const int64_t count =
          std::max<int64_t>(1, static_cast<int64_t>(sparsity * static_cast<double>(size.size(1))));
      const at::Tensor order = at::argsort(size, /*stable=*/true, /*dim=*/1, /*descending=*/true);
      const at::Tensor mask =
          at::zeros_like(size).scatter_(1, order.narrow(1, 0, count), 1.0).view_as(gradient);
      const at::Tensor direction = gradient.sign() * mask;
      return direction / PerRow(RowSum(direction.abs()).clamp_min(1));
    }
    case Norm::kL0:
      return gradient / PerRow(gradient.flatten(1).abs().amax(1).clamp_min(kTiny));
  }
  throw std::invalid_argument("unknown norm");
}

double StepSize(const StepRule& rule, const ThreatModel& threat, int64_t steps, double step_scale) {
  if (rule.step_size > 0) return rule.step_size * step_scale;
  const double reach = threat.norm == Norm::kL0 ? 1.0 : threat.epsilon;
  if (rule.rule == "eps_div_steps") return reach / static_cast<double>(steps);
  if (rule.rule == "madry") return 2.5 * reach / static_cast<double>(steps);
  if (rule.rule == "fraction") return rule.step_frac * reach;
  throw std::invalid_argument("step_rule = fixed needs step_size > 0");
}

std::vector<Param> StepParams(int64_t steps, const std::string& rule, int64_t most) {
  return {Int("steps", steps).Range(1, static_cast<double>(most)).Doc("gradient steps"),
          Real("step_size", 0).Range(0, 1).Doc("pixel units; 0: by step_rule"),
          Choice("step_rule", rule, {"fixed", "eps_div_steps", "madry", "fraction"})
              .Doc("epsilon/steps, 2.5*epsilon/steps or step_frac*epsilon; fixed: step_size"),
          Real("step_frac", 0.1).Range(0, 1e6).Doc("share of epsilon, for step_rule fraction")};
}

StepRule ParseStepRule(const Params& params) {
  return {params.Text("step_rule"), params.Real("step_size"), params.Real("step_frac")};
}

int64_t KurakinSteps(double epsilon) {
  const double levels = 255 * epsilon;
  const double steps = std::min(levels + 4, 1.25 * levels);
  // 8/255 is 8 levels, whatever rounding makes of it.
  return std::max<int64_t>(1, static_cast<int64_t>(steps + 1e-9));
}

at::Tensor Accumulated(const at::Tensor& velocity, const at::Tensor& gradient, double mu) {
  if (mu == 0) return gradient;
  const at::Tensor unit = gradient / PerRow(RowSum(gradient.abs()).clamp_min(kTiny));
  return velocity.defined() ? mu * velocity + unit : unit;
}

}  // namespace adamant
