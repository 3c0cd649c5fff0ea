// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/expectation.h"

#include <limits>

#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNoSlope = -1e30;       // stands for log 0
constexpr double kLargestExponent = 60;  // e^60 times a gradient fits into float32

bool IsLogOdds(const SearchOptions& options) {
  return options.loss == "ce" && options.numerics == Numerics::kStrong;
}

at::Tensor Softplus(const at::Tensor& m) { return m.abs().neg().exp().log1p() + m.clamp_min(0); }

}  // namespace

at::Tensor LossValue(const SearchOptions& options, const at::Tensor& loss) {
  if (!IsLogOdds(options)) return loss;
  const at::Tensor value = options.target == "none" ? Softplus(loss) : -Softplus(-loss);
  return value.masked_fill(loss == -kInfinity, -kInfinity);
}

at::Tensor LossLogSlope(const SearchOptions& options, const at::Tensor& loss) {
  if (!IsLogOdds(options)) return at::zeros_like(loss, at::kDouble);
  return at::log_sigmoid(options.target == "none" ? loss : -loss)
      .masked_fill(loss == -kInfinity, kNoSlope);
}

at::Tensor SlopeRatio(const at::Tensor& log_slope, const at::Tensor& reference) {
  return (log_slope - reference).clamp_max(kLargestExponent).exp();
}

void Expectation::Add(const LossGradient& seen) {
  const at::Tensor log_slope = LossLogSlope(search_.options(), seen.loss);
  const at::Tensor bad = seen.loss == -kInfinity;
  const at::Tensor value = LossValue(search_.options(), seen.loss).masked_fill(bad, 0);
  const at::Tensor right = Predictions(seen.logits) == search_.labels();
  if (++count_ == 1) {
    mean_ = seen;
    slope_ = log_slope;
    weight_ = at::ones_like(log_slope);
    value_ = value;
    bad_ = bad;
    right_ = right.to(at::kLong);
    return;
  }
  const at::Tensor slope = SlopeRatio(log_slope, slope_);
  weight_ = weight_ + slope;
  value_ = value_ + (value - value_) / static_cast<double>(count_);
  bad_ = bad_.logical_or(bad);
  right_ = right_ + right.to(at::kLong);
  mean_.logits = seen.logits;
  mean_.loss = seen.loss;
  if (!seen.gradient.defined()) return;
  const at::Tensor share = (slope / weight_).to(seen.gradient);
  mean_.gradient = mean_.gradient + PerRow(share) * (seen.gradient - mean_.gradient);
  mean_.nonfinite = mean_.nonfinite.logical_or(seen.nonfinite);
}

LossGradient Expectation::Mean() const {
  LossGradient mean = mean_;
  if (count_ == 1) return mean;
  if (search_.options().numerics == Numerics::kReference) {
    mean.loss = LossValue(search_.options(), mean.loss);
    return mean;
  }
  mean.loss = value_.masked_fill(bad_, -kInfinity);
  mean.wrong = 2 * right_ < count_;
  return mean;
}

LossGradient ExpectedGradient(Search& search, const at::Tensor& images, int64_t step,
                              int64_t draws) {
  Expectation expectation(search);
  for (int64_t draw = 0; draw < draws; ++draw) {
    search.SetNoise(search.Draw(Purpose::kModelNoise, step, draw));
    if (draws == 1) return search.Gradient(images);
    expectation.Add(search.Gradient(images));
  }
  return expectation.Mean();
}

LossGradient ExpectedLoss(Search& search, const at::Tensor& images, int64_t step, int64_t draws) {
  Expectation expectation(search);
  for (int64_t draw = 0; draw < draws; ++draw) {
    search.SetNoise(search.Draw(Purpose::kModelNoise, step, draw));
    if (draws == 1) return search.Loss(images);
    expectation.Add(search.Loss(images));
  }
  return expectation.Mean();
}

}  // namespace adamant
