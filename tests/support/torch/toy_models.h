// SPDX-License-Identifier: Apache-2.0
// Small models with exact arithmetic, and data for them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "core/data/dataset.h"
#include "core/models/model.h"
#include "core/models/random_model.h"
#include "core/models/toy_models.h"

namespace adamant::testing {

using adamant::ToyLinear;
using adamant::ToyMasked;
using adamant::ToyModel;
using adamant::ToyPointer;

ToyPointer ToyMlp(const ModelShape& shape);        // one hidden layer of 16 tanh units
ToyPointer ToySaturated(const ModelShape& shape);  // ToyLinear, logits times 1e4
ToyPointer ToyConst(const ModelShape& shape);      // logits 0, -1, -2, ... for any image
ToyPointer ToyTie(const ModelShape& shape);        // all logits equal, differentiable
ToyPointer ToyNan(const ModelShape& shape);   // ToyLinear; NaN where the first pixel exceeds 0.6
ToyPointer ToyInf(const ModelShape& shape);   // the same with +infinity in the last logit
ToyPointer ToyProb(const ModelShape& shape);  // softmax of ToyLinear
// ToyMlp with Gaussian noise of deviation `size` on its logits. A RandomModel: without noise where
// none was set.
ToyPointer ToyNoise(const ModelShape& shape, float size);
// Batch normalisation before ToyLinear: batch statistics and running buffers in training mode.
ToyPointer ToyBatchNorm(const ModelShape& shape);

// `count` images of stream "toy" with the model's own predictions as labels; ids from `first`.
Batch ToyBatch(const Model& model, int64_t count, int64_t first = 0);

// Counts rows and calls of another model, and rows that a gradient is taken of; throws
// std::runtime_error at call `fail_at` (1-based).
class CountingModel : public Model, public ObjectiveTensors {
 public:
  explicit CountingModel(Model& model) : model_(model) {}

  const ModelInfo& info() const override { return model_.info(); }
  at::Tensor Forward(const at::Tensor& images, const TapVisitor& visit) const override;
  NamedTensors Parameters() const override { return model_.Parameters(); }
  NamedTensors Buffers() const override { return model_.Buffers(); }
  void Train(bool on) override { model_.Train(on); }
  bool training() const override { return model_.training(); }
  void To(const c10::Device& device) override { model_.To(device); }
  std::pair<at::Tensor, at::Tensor> GapHead() const override { return model_.GapHead(); }
  NamedTensors objective_tensors() const override { return ObjectiveTensorsOf(model_); }

  mutable int64_t calls = 0;
  mutable int64_t rows = 0;
  mutable int64_t backward_rows = 0;
  int64_t fail_at = 0;

 private:
  Model& model_;
};

}  // namespace adamant::testing
