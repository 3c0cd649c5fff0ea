// SPDX-License-Identifier: Apache-2.0
// Small models whose arithmetic is exact: what an attack must reach on them is known.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "core/models/model.h"
#include "core/models/prototypes.h"

namespace adamant {

// A model that is a function of the images (and of the mode). Its one tap is `pixels`, the images;
// it carries fixed prototypes of it.
class ToyModel : public Model, public ObjectiveTensors {
 public:
  using Function = std::function<at::Tensor(const at::Tensor& images, bool training)>;

  ToyModel(const ModelShape& shape, Function function, NamedTensors parameters = {},
           NamedTensors buffers = {});

  const ModelInfo& info() const override { return info_; }
  at::Tensor Forward(const at::Tensor& images, const TapVisitor& visit) const override;
  NamedTensors Parameters() const override { return parameters_; }
  NamedTensors Buffers() const override { return buffers_; }
  void Train(bool on) override { training_ = on; }
  bool training() const override { return training_; }
  void To(const c10::Device& device) override;

 private:
  ModelInfo info_;
  Function function_;
  NamedTensors parameters_;
  NamedTensors buffers_;
  bool training_ = false;
};

using ToyPointer = std::unique_ptr<ToyModel>;

// z = W x + b in double, in a fixed order. W [K,D] and b come from a fixed stream.
ToyPointer ToyLinear(const ModelShape& shape);
// z = W x + b for given weights [K,D] and bias [K].
ToyPointer ToyLinear(const ModelShape& shape, const at::Tensor& weight, const at::Tensor& bias);
// ToyLinear behind a mask: its input is quantised to multiples of 1/8, which has no gradient, and
// its logits are saturated (times 1e4): gradient attacks fail on it where it is not robust.
ToyPointer ToyMasked(const ModelShape& shape);

namespace toy {

// Values in [-1,1) of a fixed stream, double.
at::Tensor Fixed(at::IntArrayRef shape, const char* stream);
// Values of an image.
int64_t Values(const ModelShape& shape);
// x W^T + b by elementwise products and row sums, so that a row never depends on its neighbours.
at::Tensor Affine(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace toy
}  // namespace adamant
