// SPDX-License-Identifier: Apache-2.0
#include "core/run/search_model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "core/attacks/losses.h"
#include "core/attacks/victim.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

constexpr double kLeastCosine = 0.5;

// Of the cross-entropy to leave `classes`.
at::Tensor GradientOf(Model& model, const at::Tensor& images, const at::Tensor& classes,
                      const RunControl& control) {
  Victim victim(model);
  victim.set_before_call([&] { control.Check(); });
  const LossFunction loss = MakeLoss("ce", /*targeted=*/false, Numerics::kReference);
  return victim.Gradient(images, {classes}, loss).gradient.flatten(1);
}

absl::Status CannotCompute(const std::string& precision, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("search_precision: the model cannot compute in ",
                                                 precision, " (", why, "); use fp32"));
}

}  // namespace

absl::StatusOr<SearchModel> MakeSearchModel(Model& model, const std::string& precision,
                                            const std::string& device, const at::Tensor& images,
                                            const RunControl& control) {
  SearchModel made{.precision = "fp32"};
  if (precision.empty() || precision == "fp32") return made;
  if (precision != "bf16") {
    return absl::InvalidArgumentError(
        absl::StrCat("search_precision: there is no \"", precision, "\"; known: fp32, bf16"));
  }
  absl::StatusOr<std::unique_ptr<Model>> copy = model.CopyIn(at::kBFloat16);
  if (!copy.ok()) return CannotCompute(precision, copy.status().message());
  (*copy)->To(c10::Device(device));
  if (images.size(0) == 0) return made;
  const at::Tensor here = images.to(c10::Device(device));
  const at::Tensor classes = Predictions(Victim(model).Logits(here));
  at::Tensor low;
  try {
    low = GradientOf(**copy, here, classes, control);
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    return CannotCompute(precision, error.what_without_backtrace());
  }
  const at::Tensor exact = GradientOf(model, here, classes, control);
  const double cosine = at::cosine_similarity(exact, low, 1).mean().item<double>();
  const double signs = at::eq(exact.sign(), low.sign()).to(at::kDouble).mean().item<double>();
  made.note = absl::StrFormat(
      "search in bf16: on %d images its gradients have a cosine of %.3f to those of float32 and "
      "the same sign in %.1f %% of the values",
      here.size(0), cosine, 100 * signs);
  if (!(cosine >= kLeastCosine)) {
    made.note += "; that is too little, so the search ran in fp32";
    return made;
  }
  made.model = *std::move(copy);
  made.precision = precision;
  return made;
}

}  // namespace adamant
