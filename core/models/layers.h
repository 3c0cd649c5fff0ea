// SPDX-License-Identifier: Apache-2.0
// What every architecture is built from: named weights with reproducible initial values, and layers
// as functions over them.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/models/model.h"

namespace adamant {

// Initial values of one weight. Normals and uniforms come from stream `init`: step = index of the
// parameter, element block in order; a truncated normal is drawn again (draw = attempt) beyond 2
// standard deviations.
struct Init {
  enum Kind { kConstant, kNormal, kTruncatedNormal, kUniform } kind = kConstant;
  double scale = 0;  // the constant, the standard deviation, or the bound of U(-scale, scale)
};

// The parameters and buffers of a network in the order they were added.
class Weights {
 public:
  explicit Weights(uint64_t seed) : seed_(seed) {}

  at::Tensor Add(std::string name, const std::vector<int64_t>& shape, const Init& init);
  at::Tensor AddBuffer(std::string name, const std::vector<int64_t>& shape, double value);

  const NamedTensors& parameters() const { return parameters_; }
  const NamedTensors& buffers() const { return buffers_; }

 private:
  uint64_t seed_;
  NamedTensors parameters_;
  NamedTensors buffers_;
};

struct LayerOptions {
  int64_t stride = 1;
  int64_t padding = 0;
  bool bias = true;
  std::optional<Init> init = std::nullopt;  // conv: He normal, fan-out; linear: U(+-1/sqrt(in))
  double bias_value = 0;
};

// Square convolution; weight [out,in,kernel,kernel].
struct Conv {
  Conv(Weights& weights, const std::string& name, int64_t in, int64_t out, int64_t kernel,
       const LayerOptions& options = {});
  at::Tensor operator()(const at::Tensor& x) const;

  at::Tensor weight, bias;
  int64_t stride, padding;
};

// x [N,in] -> [N,out]; weight [out,in].
struct Linear {
  Linear(Weights& weights, const std::string& name, int64_t in, int64_t out,
         const LayerOptions& options = {});
  at::Tensor operator()(const at::Tensor& x) const;

  at::Tensor weight, bias;
};

// Batch normalisation over [N,C,...]: running = (1 - momentum) * running + momentum * batch.
struct BatchNorm {
  BatchNorm(Weights& weights, const std::string& name, int64_t channels, double eps = 1e-5,
            double momentum = 0.1);
  at::Tensor operator()(const at::Tensor& x, bool training) const;

  at::Tensor weight, bias, running_mean, running_var;
  double eps, momentum;
};

// norm(conv(x)), the convolution without bias. Outside training with frozen weights (attacks,
// evaluations) it is one convolution with the product of both: the same up to rounding, and passes
// over the activations less. Not thread-safe: it keeps the product.
class NormalisedConv {
 public:
  NormalisedConv(Weights& weights, const std::string& conv_name, const std::string& norm_name,
                 int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding);
  at::Tensor operator()(const at::Tensor& x, bool training) const;

  const Conv& conv() const { return conv_; }
  const BatchNorm& norm() const { return norm_; }

 private:
  struct Product {
    at::Tensor weight, bias;
    std::vector<std::pair<const void*, int64_t>> made_of;  // storages and versions
  };
  void Multiply() const;

  Conv conv_;
  BatchNorm norm_;
  mutable Product product_;
};

at::Tensor MaxPool(const at::Tensor& x, int64_t kernel, int64_t stride, int64_t padding = 0);
// [N,C,H,W] -> [N,C]
at::Tensor GlobalAveragePool(const at::Tensor& x);

}  // namespace adamant
