// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/losses.h"

#include <limits>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kCarliniConfidence = 50;
constexpr double kTiny = 1e-12;

at::Tensor At(const at::Tensor& values, const at::Tensor& index) {
  return values.gather(1, index.unsqueeze(1)).squeeze(1);
}

at::Tensor WithoutLabel(const at::Tensor& logits, const at::Tensor& labels) {
  return logits.scatter(1, labels.unsqueeze(1), -kInfinity);
}

// max_{j != y} v_j - v_y; the gradient goes to the lowest of equal indices.
at::Tensor Lead(const at::Tensor& values, const at::Tensor& labels) {
  const at::Tensor other = WithoutLabel(values.detach(), labels).argmax(1);
  return At(values, other) - At(values, labels);
}

at::Tensor LogOdds(const at::Tensor& logits, const at::Tensor& labels) {
  const at::Tensor z = logits.to(at::kDouble);
  return at::logsumexp(WithoutLabel(z, labels), 1) - At(z, labels);
}

at::Tensor ReferenceCrossEntropy(const at::Tensor& logits, const at::Tensor& labels) {
  return at::cross_entropy_loss(logits, labels, {}, at::Reduction::None);
}

at::Tensor CarliniWagner(const at::Tensor& lead) { return -at::relu(kCarliniConfidence - lead); }

at::Tensor Dlr(const at::Tensor& logits, const at::Tensor& labels) {
  if (logits.size(1) < 3) return Lead(logits, labels);
  const at::Tensor sorted = logits.gather(1, RankedClasses(logits.detach()));
  return Lead(logits, labels) / (sorted.select(1, 0) - sorted.select(1, 2) + kTiny);
}

LossFunction Signed(double sign, at::Tensor (*loss)(const at::Tensor&, const at::Tensor&)) {
  return [sign, loss](const at::Tensor& logits, const at::Tensor& labels) {
    return sign * loss(logits, labels);
  };
}

}  // namespace

std::vector<std::string> LossNames() { return {"ce", "margin", "cw50", "dlr", "prob_margin"}; }

LossFunction MakeLoss(const std::string& name, bool targeted, Numerics numerics) {
  const double sign = targeted ? -1 : 1;
  if (name == "ce") {
    return Signed(sign, numerics == Numerics::kStrong ? LogOdds : ReferenceCrossEntropy);
  }
  if (name == "margin") return Signed(sign, Lead);
  if (name == "cw50") {
    return [sign](const at::Tensor& logits, const at::Tensor& labels) {
      return CarliniWagner(sign * Lead(logits, labels));
    };
  }
  if (name == "prob_margin") {
    return [sign](const at::Tensor& logits, const at::Tensor& labels) {
      return sign * Lead(at::softmax(logits, 1), labels);
    };
  }
  if (name == "dlr" && !targeted) return Dlr;
  throw std::invalid_argument(absl::StrCat(
      "loss ", name, " has no targeted form; use ce, margin or cw50, or target = none"));
}

std::string LossNote(const std::string& name, int64_t num_classes) {
  if (name != "dlr" || num_classes >= 3) return "";
  return absl::StrCat("loss dlr needs 3 classes; margin was used for ", num_classes);
}

at::Tensor Predictions(const at::Tensor& logits) { return logits.argmax(1); }

at::Tensor Margins(const at::Tensor& logits, const at::Tensor& labels) {
  return -Lead(logits, labels);
}

at::Tensor RankedClasses(const at::Tensor& logits) {
  return at::argsort(logits, /*stable=*/true, /*dim=*/1, /*descending=*/true);
}

}  // namespace adamant
