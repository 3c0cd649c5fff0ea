// SPDX-License-Identifier: Apache-2.0
// Empirical risk minimisation, the undefended control:  L = CE(f(x + n), y),  n ~ N(0,
// noise_sigma^2). The noise of a sample in an epoch is fixed by (seed, epoch, sample id); noisy
// images are not clipped to [0,1].
#include "absl/strings/str_cat.h"
#include "core/objectives/objective.h"

namespace adamant {
namespace {

class Standard : public Objective {
 public:
  explicit Standard(const Params& params) : noise_sigma_(params.Real("noise_sigma")) {}

  StepOutput Step(StepContext& context) override {
    const Batch& batch = context.batch;
    const at::Tensor logits = context.Forward(noise_sigma_ > 0 ? WithNoise(context) : batch.images);
    StepOutput out;
    out.loss = CrossEntropy(logits, batch.labels, context.label_smoothing);
    out.terms = {{"ce_clean", out.loss.detach(), 1.0}};
    out.stats = {{"train_clean_accuracy", BatchAccuracy(logits, batch.labels)}};
    return out;
  }

 private:
  at::Tensor WithNoise(const StepContext& context) const {
    const at::Tensor& images = context.batch.images;
    const at::Tensor ids = context.batch.ids.cpu();
    at::Tensor noise = at::empty(images.sizes(), at::kFloat);
    const int64_t values = images.numel() / images.size(0);
    const std::string stream = absl::StrCat("noise:", context.epoch);
    for (int64_t i = 0; i < images.size(0); ++i) {
      context.Stream(stream, ids.data_ptr<int64_t>()[i])
          .Normal({.purpose = Purpose::kNoise},
                  absl::MakeSpan(noise.data_ptr<float>() + i * values, values));
    }
    return images + noise.to(images.options()) * noise_sigma_;
  }

  const double noise_sigma_;
};

const Registration<Objective> kStandard{
    {.name = "standard",
     .summary = "cross-entropy on clean images",
     .params = {Real("noise_sigma", 0)
                    .Range(0, 1)
                    .Doc("standard deviation of Gaussian input noise, pixel units")}},
    [](const Params& params) -> std::unique_ptr<Objective> {
      return std::make_unique<Standard>(params);
    }};

}  // namespace
}  // namespace adamant
