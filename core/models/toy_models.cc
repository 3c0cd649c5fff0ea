// SPDX-License-Identifier: Apache-2.0
#include "core/models/toy_models.h"

#include <utility>

#include "core/base/rng.h"
#include "core/base/torch.h"

namespace adamant {
namespace toy {

at::Tensor Fixed(at::IntArrayRef shape, const char* stream) {
  const at::Tensor out = at::empty(shape, at::kFloat);
  const Rng rng(1, stream, 0);
  rng.Uniform({.purpose = Purpose::kTest},
              absl::MakeSpan(out.data_ptr<float>(), static_cast<size_t>(out.numel())));
  return (out * 2 - 1).to(at::kDouble);
}

int64_t Values(const ModelShape& shape) { return shape.channels * shape.height * shape.width; }

at::Tensor Affine(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor w = weight.to(x.device());
  return (x.to(at::kDouble).flatten(1).unsqueeze(1) * w).sum(2) + bias.to(x.device());
}

}  // namespace toy

ToyModel::ToyModel(const ModelShape& shape, Function function, NamedTensors parameters,
                   NamedTensors buffers)
    : function_(std::move(function)),
      parameters_(std::move(parameters)),
      buffers_(std::move(buffers)) {
  info_.architecture.set_name("toy");
  info_.shape = shape;
  info_.taps = {{"pixels", shape.channels, shape.height, shape.width}};
  info_.default_tap = "pixels";
  set_objective_tensors(
      {{"objective.pcl.pixels.prototypes",
        toy::Fixed({shape.num_classes, shape.channels}, "prototypes").to(at::kFloat)}});
}

at::Tensor ToyModel::Forward(const at::Tensor& images, const TapVisitor& visit) const {
  return function_(visit ? visit("pixels", images) : images, training_);
}

void ToyModel::To(const c10::Device&) {}

ToyPointer ToyLinear(const ModelShape& shape) {
  return ToyLinear(shape, toy::Fixed({shape.num_classes, toy::Values(shape)}, "weight"),
                   toy::Fixed({shape.num_classes}, "bias"));
}

ToyPointer ToyLinear(const ModelShape& shape, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor w = weight.to(at::kDouble);
  const at::Tensor b = bias.to(at::kDouble);
  return std::make_unique<ToyModel>(
      shape, [=](const at::Tensor& x, bool) { return toy::Affine(x, w, b).to(at::kFloat); },
      NamedTensors{{"weight", w}, {"bias", b}});
}

ToyPointer ToyMasked(const ModelShape& shape) {
  const at::Tensor weight = toy::Fixed({shape.num_classes, toy::Values(shape)}, "weight");
  const at::Tensor bias = toy::Fixed({shape.num_classes}, "bias");
  return std::make_unique<ToyModel>(
      shape,
      [=](const at::Tensor& x, bool) {
        return (toy::Affine((x * 8).round() / 8, weight, bias) * 1e4).to(at::kFloat);
      },
      NamedTensors{{"weight", weight}, {"bias", bias}});
}

}  // namespace adamant
