// SPDX-License-Identifier: Apache-2.0
// The part of Search that minimum-norm attacks use.
#include <limits>

#include "core/attacks/search.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void CountRows(const at::Tensor& counter, const at::Tensor& rows, const at::Tensor& amount) {
  at::Tensor(counter).index_add_(0, rows, amount.to(at::kLong));
}

}  // namespace

RecordedPass Search::RecordExtra(const at::Tensor& some, const at::Tensor& images) {
  SampleCounts& counts = result_.counts;
  if (!counts.extra_forwards.defined()) counts.extra_forwards = at::zeros_like(counts.forwards);
  const at::Tensor rows = rows_.index_select(0, some);
  CountRows(counts.forwards, rows, at::ones_like(rows));
  CountRows(counts.extra_forwards, rows, at::ones_like(rows));
  return victim_.RecordFew(images);
}

LossGradient Search::GradientExtra(RecordedPass& pass, const at::Tensor& some,
                                   const LossFunction& loss, bool last) {
  LossGradient seen = pass.Gradient(loss, aims_.Select(some), last);
  CountGradient(seen, at::ones_like(some, at::kBool), rows_.index_select(0, some));
  return seen;
}

void Search::CountGradient(const LossGradient& seen, const at::Tensor& wanted,
                           const at::Tensor& rows) {
  const SampleCounts& counts = result_.counts;
  CountRows(counts.backwards, rows, wanted);
  CountRows(counts.nonfinite_grads, rows, seen.nonfinite.logical_and(wanted));
  const at::Tensor zero = seen.gradient.flatten(1).any(1).logical_or(seen.nonfinite).logical_not();
  CountRows(counts.zero_grads, rows, zero.logical_and(wanted));
}

at::Tensor Search::Misclassified(const at::Tensor& logits) const {
  const at::Tensor finite = at::isfinite(logits).all(1);
  Count(result_.counts.nonfinite_logits, finite.logical_not());
  return (Predictions(logits) != row_labels_).logical_and(finite);
}

at::Tensor Search::ObserveNearest(at::Tensor& images, const at::Tensor& success, int64_t step,
                                  absl::Span<at::Tensor* const> state) {
  if (step > 0) Count(result_.counts.steps, at::ones_like(rows_));
  const at::Tensor distance = RowNorm(set_.threat().norm, images - set_.origin());
  if (!result_.min_norm.defined()) {
    result_.min_norm = at::full({images_.size(0)}, kInfinity, images_.options().dtype(at::kDouble));
  }
  const at::Tensor before = nearest();
  at::Tensor taken = success.logical_and(distance < before);
  if (!taken.any().item<bool>()) return success;
  at::Tensor settled = success;
  at::Tensor keep;
  if (settings_.judge != nullptr) {
    const at::Tensor claimed = taken.logical_and(distance <= ClaimDistance(set_.threat()))
                                   .logical_and(accepted_.index_select(0, rows_).logical_not());
    const at::Tensor chosen = claimed.nonzero().squeeze(1);
    if (chosen.size(0) > 0) keep = Remaining(chosen, Submit(chosen, images, step));
    const at::Tensor kept =
        claimed.logical_and(accepted_.index_select(0, rows_).logical_not()).logical_not();
    taken = taken.logical_and(kept);
    settled = settled.logical_and(kept);
  }
  result_.min_norm.index_copy_(0, rows_, at::where(taken, distance, before));
  result_.images.index_copy_(
      0, rows_, at::where(PerRow(taken), images, result_.images.index_select(0, rows_)));
  if (!options_.early_stop || settings_.nearest || !keep.defined()) return settled;
  KeepRows(keep, images, state);
  return settled.index_select(0, keep);
}

void Search::KeepOnly(const at::Tensor& keep, at::Tensor& images,
                      absl::Span<at::Tensor* const> state) {
  const at::Tensor stay = keep.nonzero().squeeze(1);
  if (stay.size(0) < rows_.size(0)) KeepRows(stay, images, state);
}

at::Tensor Search::best_images() const { return result_.images.index_select(0, rows_); }

at::Tensor Search::nearest() const {
  if (!result_.min_norm.defined()) {
    return at::full({rows_.size(0)}, kInfinity, images_.options().dtype(at::kDouble));
  }
  return result_.min_norm.index_select(0, rows_);
}

}  // namespace adamant
