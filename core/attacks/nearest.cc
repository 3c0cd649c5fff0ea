// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/nearest.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <stdexcept>

#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kTiny = 1e-12;
constexpr double kLargestConstant = 1e10;
constexpr double kUnbounded = 1e9;
// From this many searches on, the last one repeats the smallest constant that succeeded.
constexpr int64_t kRepeatingSearches = 10;

}  // namespace

std::vector<Param> NearestParams(const std::string& target) {
  return {
      Text("target", target)
          .Doc("none, least_likely, next, random_wrong, rank:r or given; fixed at the clean image"),
      Bool("stop_at_eps", true).Doc("a sample leaves when it is inside the threat model")};
}

SearchOptions ParseNearest(const Params& params, const std::string& loss) {
  SearchOptions options;
  options.loss = loss;
  options.target = params.Text("target");
  CheckTarget(options.target);
  options.early_stop = params.Bool("stop_at_eps");
  return options;
}

AttackResult NothingNear(const Batch& batch) {
  AttackResult result = Unchanged(batch);
  result.min_norm = at::full({batch.size()}, std::numeric_limits<double>::infinity(),
                             result.images.options().dtype(at::kDouble));
  return result;
}

at::Tensor DualNorm(Norm norm, const at::Tensor& gradient) {
  switch (norm) {
    case Norm::kLinf:
      return RowNorm(Norm::kL1, gradient);
    case Norm::kL2:
      return RowNorm(Norm::kL2, gradient);
    case Norm::kL1:
      return RowNorm(Norm::kLinf, gradient);
    case Norm::kL0:
      break;
  }
  throw std::invalid_argument("L0 has no dual norm");
}

void NearestPlane::Offer(const LossGradient& seen) {
  // Where a logit is not finite there is no plane: the clean image is on it as well.
  const at::Tensor finite = at::isfinite(seen.loss);
  const Planes here{at::where(PerRow(finite), seen.gradient, 0.0F),
                    at::where(finite, seen.loss, 0.0)};
  const at::Tensor away = here.excess.abs() / (DualNorm(norm_, here.normal) + kTiny);
  if (!distance_.defined()) {
    planes_ = here;
    distance_ = away;
    return;
  }
  const at::Tensor nearer = away < distance_;
  distance_ = at::where(nearer, away, distance_);
  planes_.normal = at::where(PerRow(nearer), here.normal, planes_.normal);
  planes_.excess = at::where(nearer, here.excess, planes_.excess);
}

at::Tensor Reaches(const Aims& aims, const at::Tensor& logits, double kappa) {
  const bool targeted = aims.targets.defined();
  const at::Tensor aim = (targeted ? aims.targets : aims.labels).unsqueeze(1);
  const at::Tensor bias = at::full(aim.sizes(), targeted ? -kappa : kappa, logits.options());
  const at::Tensor hit = Predictions(logits.scatter_add(1, aim, bias)) == aim.squeeze(1);
  return targeted ? hit : hit.logical_not();
}

double Cosine(double first, double last, int64_t step, int64_t steps) {
  const double share = static_cast<double>(step) / static_cast<double>(steps);
  return last + (first - last) * (1 + std::cos(std::numbers::pi * share)) / 2;
}

TradeOff::TradeOff(const at::Tensor& images, double initial, int64_t searches)
    : searches_(searches), found_(at::zeros({images.size(0)}, images.options().dtype(at::kBool))) {
  constant_ = at::full({images.size(0)}, initial, images.options().dtype(at::kDouble));
  low_ = at::zeros_like(constant_);
  high_ = at::full_like(constant_, kLargestConstant);
}

at::Tensor TradeOff::Constants(const at::Tensor& rows) const {
  return constant_.index_select(0, rows).to(at::kFloat);
}

void TradeOff::Succeeded(const at::Tensor& rows, const at::Tensor& success) {
  found_.index_copy_(0, rows, found_.index_select(0, rows).logical_or(success));
}

void TradeOff::Update(int64_t number) {
  high_ = at::where(found_, high_.minimum(constant_), high_);
  low_ = at::where(found_, low_, low_.maximum(constant_));
  const at::Tensor larger = at::where(found_, constant_, constant_ * 10);
  constant_ = at::where(high_ < kUnbounded, (low_ + high_) / 2, larger);
  if (searches_ >= kRepeatingSearches && number == searches_ - 2) constant_ = high_;
  found_ = at::zeros_like(found_);
}

}  // namespace adamant
