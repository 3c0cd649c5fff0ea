// SPDX-License-Identifier: Apache-2.0
#include "tests/support/torch/toy_models.h"

#include <limits>
#include <stdexcept>
#include <vector>

#include "core/base/rng.h"
#include "core/base/torch.h"

namespace adamant::testing {
namespace {

using toy::Affine;
using toy::Fixed;
using toy::Values;

ToyPointer OfLinear(const ModelShape& shape,
                    std::function<at::Tensor(const at::Tensor& x, const at::Tensor& z)> change) {
  const at::Tensor weight = Fixed({shape.num_classes, Values(shape)}, "weight");
  const at::Tensor bias = Fixed({shape.num_classes}, "bias");
  return std::make_unique<ToyModel>(
      shape,
      [=](const at::Tensor& x, bool) { return change(x, Affine(x, weight, bias)).to(at::kFloat); },
      NamedTensors{{"weight", weight}, {"bias", bias}});
}

at::Tensor FirstPixelHigh(const at::Tensor& x) {
  return x.detach().flatten(1).narrow(1, 0, 1) > 0.6;
}

}  // namespace

ToyPointer ToyMlp(const ModelShape& shape) {
  const at::Tensor first = Fixed({16, Values(shape)}, "first");
  const at::Tensor second = Fixed({shape.num_classes, 16}, "second");
  const at::Tensor zeros = at::zeros({1}, at::kDouble);
  return std::make_unique<ToyModel>(
      shape,
      [=](const at::Tensor& x, bool) {
        return Affine(at::tanh(Affine(x - 0.5, first, zeros)), second, zeros).to(at::kFloat);
      },
      NamedTensors{{"first", first}, {"second", second}});
}

ToyPointer ToySaturated(const ModelShape& shape) {
  return OfLinear(shape, [](const at::Tensor&, const at::Tensor& z) { return z * 1e4; });
}

ToyPointer ToyProb(const ModelShape& shape) {
  return OfLinear(shape, [](const at::Tensor&, const at::Tensor& z) { return at::softmax(z, 1); });
}

namespace {

class Noisy final : public ToyModel, public RandomModel {
 public:
  Noisy(const ModelShape& shape, float size)
      : ToyModel(shape, [this, size, base = std::shared_ptr<ToyModel>(ToyMlp(shape))](
                            const at::Tensor& x, bool) {
          const at::Tensor z = base->Logits(x);
          return z + size * Drawn(z).to(z.device());
        }) {}

  void SetNoise(const std::optional<ModelNoise>& noise) override { noise_ = noise; }

 private:
  at::Tensor Drawn(const at::Tensor& z) const {
    const at::Tensor out = at::zeros(z.sizes());
    if (!noise_.has_value() || noise_->silent) return out;
    for (int64_t i = 0; i < z.size(0); ++i) {
      const Rng rng(noise_->seed, noise_->stream, noise_->ids.data_ptr<int64_t>()[i]);
      rng.Normal(noise_->at, absl::MakeSpan(out.data_ptr<float>() + i * z.size(1),
                                            static_cast<size_t>(z.size(1))));
    }
    return out;
  }

  std::optional<ModelNoise> noise_;
};

}  // namespace

ToyPointer ToyNoise(const ModelShape& shape, float size) {
  return std::make_unique<Noisy>(shape, size);
}

ToyPointer ToyConst(const ModelShape& shape) {
  return std::make_unique<ToyModel>(shape, [shape](const at::Tensor& x, bool) {
    return -at::arange(shape.num_classes, x.options().dtype(at::kFloat))
                .expand({x.size(0), shape.num_classes});
  });
}

ToyPointer ToyTie(const ModelShape& shape) {
  return std::make_unique<ToyModel>(shape, [shape](const at::Tensor& x, bool) {
    return x.flatten(1).sum(1, /*keepdim=*/true).expand({x.size(0), shape.num_classes});
  });
}

ToyPointer ToyNan(const ModelShape& shape) {
  return OfLinear(shape, [](const at::Tensor& x, const at::Tensor& z) {
    return z.masked_fill(FirstPixelHigh(x), std::numeric_limits<double>::quiet_NaN());
  });
}

ToyPointer ToyInf(const ModelShape& shape) {
  return OfLinear(shape, [](const at::Tensor& x, const at::Tensor& z) {
    const at::Tensor last = at::arange(z.size(1), x.options().dtype(at::kLong)) == z.size(1) - 1;
    return z.masked_fill(FirstPixelHigh(x).logical_and(last),
                         std::numeric_limits<double>::infinity());
  });
}

ToyPointer ToyBatchNorm(const ModelShape& shape) {
  const at::Tensor weight = Fixed({shape.num_classes, Values(shape)}, "weight");
  const at::Tensor bias = Fixed({shape.num_classes}, "bias");
  const at::Tensor mean = at::zeros({shape.channels});
  const at::Tensor variance = at::ones({shape.channels});
  const at::Tensor scale = at::ones({shape.channels});
  return std::make_unique<ToyModel>(
      shape,
      [=](const at::Tensor& x, bool training) {
        const at::Tensor normal =
            at::batch_norm(x, scale, {}, mean, variance, training, 0.1, 1e-5, false);
        return Affine(normal, weight, bias).to(at::kFloat);
      },
      NamedTensors{{"weight", weight}, {"bias", bias}, {"scale", scale}},
      NamedTensors{{"running_mean", mean}, {"running_var", variance}});
}

Batch ToyBatch(const Model& model, int64_t count, int64_t first) {
  const ModelShape& shape = model.info().shape;
  Batch batch;
  batch.images = at::empty({count, shape.channels, shape.height, shape.width});
  const auto values = static_cast<size_t>(Values(shape));
  for (int64_t i = 0; i < count; ++i) {
    const Rng rng(1, "toy", first + i);
    rng.Uniform(
        {.purpose = Purpose::kTest},
        absl::MakeSpan(batch.images.data_ptr<float>() + i * static_cast<int64_t>(values), values));
  }
  const at::NoGradGuard no_grad;
  batch.labels = count > 0 ? model.Logits(batch.images).argmax(1) : at::empty({0}, at::kLong);
  batch.ids = at::arange(first, first + count, at::kLong);
  return batch;
}

at::Tensor CountingModel::Forward(const at::Tensor& images, const TapVisitor& visit) const {
  ++calls;
  rows += images.size(0);
  if (calls == fail_at) throw std::runtime_error("call refused");
  at::Tensor logits = model_.Forward(images, visit);
  if (logits.requires_grad()) {
    logits.register_hook([this](const at::Tensor& grad) { backward_rows += grad.size(0); });
  }
  return logits;
}

}  // namespace adamant::testing
