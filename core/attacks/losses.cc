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

at::Tensor Sorted(const at::Tensor& logits) {
  return logits.gather(1, RankedClasses(logits.detach()));
}

at::Tensor Dlr(const at::Tensor& logits, const Aims& aims) {
  if (logits.size(1) < 3) return Lead(logits, aims.labels);
  const at::Tensor sorted = Sorted(logits);
  return Lead(logits, aims.labels) / (sorted.select(1, 0) - sorted.select(1, 2) + kTiny);
}

at::Tensor Difference(const at::Tensor& logits, const Aims& aims) {
  return At(logits, aims.targets) - At(logits, aims.labels);
}

at::Tensor DlrTargeted(const at::Tensor& logits, const Aims& aims) {
  const int64_t num_classes = logits.size(1);
  if (num_classes < 3) return -Lead(logits, aims.targets);
  const at::Tensor sorted = Sorted(logits);
  const at::Tensor third =
      num_classes < 4 ? sorted.select(1, 2) : (sorted.select(1, 2) + sorted.select(1, 3)) / 2;
  return Difference(logits, aims) / (sorted.select(1, 0) - third + kTiny);
}

using ClassLoss = at::Tensor (*)(const at::Tensor& logits, const at::Tensor& classes);

// A loss about one class: larger when leaving the label, or when reaching the target.
LossFunction About(bool targeted, ClassLoss loss) {
  if (targeted) {
    return
        [loss](const at::Tensor& logits, const Aims& aims) { return -loss(logits, aims.targets); };
  }
  return [loss](const at::Tensor& logits, const Aims& aims) { return loss(logits, aims.labels); };
}

at::Tensor ProbabilityLead(const at::Tensor& logits, const at::Tensor& classes) {
  return Lead(at::softmax(logits, 1), classes);
}

}  // namespace

std::vector<std::string> LossNames() {
  return {"ce", "margin", "cw50", "dlr", "dlr_targeted", "logit_diff", "prob_margin"};
}

LossFunction MakeLoss(const std::string& name, bool targeted, Numerics numerics) {
  if (name == "ce") {
    return About(targeted, numerics == Numerics::kStrong ? LogOdds : ReferenceCrossEntropy);
  }
  if (name == "margin" || (name == "logit_diff" && !targeted)) return About(targeted, Lead);
  if (name == "logit_diff") return Difference;
  if (name == "cw50") {
    return [margin = About(targeted, Lead)](const at::Tensor& logits, const Aims& aims) {
      return CarliniWagner(margin(logits, aims));
    };
  }
  if (name == "prob_margin") return About(targeted, ProbabilityLead);
  if (name == "dlr" && !targeted) return Dlr;
  if (name == "dlr_targeted" && targeted) return DlrTargeted;
  if (name == "dlr_targeted") {
    throw std::invalid_argument("loss dlr_targeted needs a target, e.g. target = rank:1");
  }
  throw std::invalid_argument(
      absl::StrCat("loss ", name,
                   " has no targeted form; use ce, margin, logit_diff or dlr_targeted, or target = "
                   "none"));
}

LossFunction MakeSummand(const std::string& name, bool targeted, Numerics numerics) {
  if (name != "ce" || numerics != Numerics::kStrong) return MakeLoss(name, targeted, numerics);
  return About(targeted, [](const at::Tensor& logits, const at::Tensor& classes) {
    return at::softplus(LogOdds(logits, classes), /*beta=*/1, /*threshold=*/40);
  });
}

std::string LossNote(const std::string& name, int64_t num_classes) {
  if ((name == "dlr" || name == "dlr_targeted") && num_classes < 3) {
    return absl::StrCat("loss ", name, " needs 3 classes; margin was used for ", num_classes);
  }
  if (name == "dlr_targeted" && num_classes < 4) {
    return "loss dlr_targeted needs 4 classes; its denominator was z_(1) - z_(3) for 3";
  }
  return "";
}

at::Tensor Predictions(const at::Tensor& logits) { return logits.argmax(1); }

at::Tensor LeastLikely(const at::Tensor& logits, const at::Tensor& labels) {
  return logits.scatter(1, labels.unsqueeze(1), kInfinity).argmin(1);
}

at::Tensor Margins(const at::Tensor& logits, const at::Tensor& labels) {
  return -Lead(logits, labels);
}

at::Tensor RankedClasses(const at::Tensor& logits) {
  return at::argsort(logits, /*stable=*/true, /*dim=*/1, /*descending=*/true);
}

}  // namespace adamant
