// SPDX-License-Identifier: Apache-2.0
// Network, the Model that all architectures of the zoo share: the normaliser, taps, ReLUs with
// leaky gradients, dropout.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/models/layers.h"
#include "core/models/prototypes.h"

namespace adamant {

// `params` and the three that choose the normaliser of an architecture.
std::vector<Param> WithNormaliser(const std::string& kind, const std::vector<double>& mean,
                                  const std::vector<double>& std, std::vector<Param> params);

// `shape` with the members that are 0 taken from `own`.
ModelShape ShapeOr(ModelShape shape, const ModelShape& own);

// One forward pass, as an architecture sees it.
class Pass {
 public:
  Pass(const TapVisitor& visit, const at::Tensor& leak, bool training, uint64_t seed, int64_t step,
       uint32_t call)
      : visit_(visit), leak_(leak), training_(training), seed_(seed), step_(step), call_(call) {}

  bool training() const { return training_; }
  // Hands a named activation to the visitor; the pass goes on with what it returns.
  at::Tensor Tap(const std::string& name, const at::Tensor& value) const;
  // Every ReLU of the zoo is this one, or the one in ReluMaxPool: see Model::LeakyLogits.
  at::Tensor Relu(const at::Tensor& x) const;
  // MaxPool(Tap(tap, Relu(x)), 2, 2); tap "" is none.
  at::Tensor ReluMaxPool(const at::Tensor& x, const std::string& tap = "") const;
  // Zeroes with probability p and scales by 1 / (1 - p) in training, else the identity.
  at::Tensor Dropout(const at::Tensor& x, double p);

 private:
  const TapVisitor& visit_;
  const at::Tensor leak_;
  const bool training_;
  const uint64_t seed_;
  const int64_t step_;
  const uint32_t call_;
  uint16_t dropout_layers_ = 0;
};

// A Model of the zoo: an architecture adds its weights and layers in its constructor, describes
// itself with Describe, and implements Run. Thread-safety as Model.
class Network : public Model, public ObjectiveTensors {
 public:
  Network(const Params& params, const ModelShape& shape, uint64_t seed);

  const ModelInfo& info() const override { return info_; }
  at::Tensor Forward(const at::Tensor& images, const TapVisitor& visit) const final {
    return RunPass(images, visit, {});
  }
  at::Tensor LeakyLogits(const at::Tensor& images, const at::Tensor& slopes) const final {
    return RunPass(images, {}, slopes);
  }
  NamedTensors Parameters() const override { return weights_.parameters(); }
  NamedTensors Buffers() const override { return weights_.buffers(); }
  void Train(bool on) override { training_ = on; }
  bool training() const override { return training_; }
  void To(const c10::Device& device) override;
  absl::StatusOr<std::unique_ptr<Model>> CopyIn(at::ScalarType type) const override;
  void SetDropoutStream(uint64_t seed, int64_t step) override;
  std::pair<at::Tensor, at::Tensor> GapHead() const override;

  // Fills what follows from the weights and one pass over a zero image: parameter count and taps.
  void Measure();

 protected:
  // x [N,C,H,W], normalised -> logits [N,K].
  virtual at::Tensor Run(const at::Tensor& x, Pass& pass) const = 0;

  struct Description {
    std::string classifier;   // e.g. "fc": the last layer's name
    std::string default_tap;  // gets the alias `last_conv`
    bool gap_head = false;
    std::vector<std::string> default_tap_aliases = {};
  };
  void Describe(Description description) { description_ = std::move(description); }

  const ModelShape& shape() const { return info_.shape; }
  Weights weights_;

 private:
  at::Tensor RunPass(const at::Tensor& images, const TapVisitor& visit,
                     const at::Tensor& leak) const;
  at::Tensor Normalise(const at::Tensor& images) const;

  ModelInfo info_;
  Description description_;
  at::ScalarType compute_type_ = at::kFloat;  // of weights and activations
  at::Tensor mean_, std_;                     // [1,C,1,1]; undefined: identity or per_image
  bool per_image_ = false;
  bool training_ = false;
  uint64_t dropout_seed_ = 0;
  int64_t dropout_step_ = 0;
  mutable uint32_t dropout_calls_ = 0;
};

// Runs `make` and measures the result; what does not fit becomes INVALID_ARGUMENT with the
// architecture's name and the shape.
absl::StatusOr<std::unique_ptr<Model>> FinishNetwork(
    const Params& params, const ModelShape& shape,
    const std::function<std::unique_ptr<Network>()>& make);

// The factory of an architecture `Net` with constructor (params, shape, seed); sizes that the shape
// leaves open are `own`.
template <class Net>
absl::StatusOr<std::unique_ptr<Model>> MakeNetwork(const Params& params, const ModelShape& shape,
                                                   const ModelShape& own, uint64_t seed) {
  const ModelShape full = ShapeOr(shape, own);
  return FinishNetwork(params, full, [&] { return std::make_unique<Net>(params, full, seed); });
}

}  // namespace adamant
