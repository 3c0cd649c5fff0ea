// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "core/attacks/search.h"
#include "core/base/torch.h"

namespace adamant {

LossGradient Search::Ask(const at::Tensor& images, const at::Tensor& of) {
  LossGradient seen;
  seen.logits = victim_.Logits(images);
  const at::Tensor bad = at::isfinite(seen.logits).all(1).logical_not();
  seen.loss = loss_(seen.logits, aims_.Select(of))
                  .to(at::kDouble)
                  .masked_fill(bad, -std::numeric_limits<double>::infinity());
  const at::Tensor rows = rows_.index_select(0, of);
  result_.counts.forwards.index_add_(0, rows, at::ones_like(rows));
  result_.counts.nonfinite_logits.index_add_(0, rows, bad.to(at::kLong));
  return seen;
}

}  // namespace adamant
