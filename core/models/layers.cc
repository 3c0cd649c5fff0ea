// SPDX-License-Identifier: Apache-2.0
#include "core/models/layers.h"

#include <cmath>

#include "core/base/rng.h"
#include "core/base/torch.h"
#include "core/models/image_conv.h"

namespace adamant {
namespace {

at::Tensor DrawTruncatedNormal(const Rng& rng, DrawAt at, int64_t count) {
  at::Tensor values = torch::empty({count});
  at::Tensor next = torch::empty({count});
  rng.Normal(at, {values.mutable_data_ptr<float>(), static_cast<size_t>(count)});
  for (at.draw = 1; values.abs().gt(2).any().item<bool>(); ++at.draw) {
    rng.Normal(at, {next.mutable_data_ptr<float>(), static_cast<size_t>(count)});
    values = torch::where(values.abs().gt(2), next, values);
  }
  return values;
}

at::Tensor DrawInitial(const Init& init, uint64_t seed, uint32_t index, int64_t count) {
  if (init.kind == Init::kConstant) return torch::full({count}, init.scale, at::kFloat);
  const Rng rng(seed, "init", 0);
  const DrawAt at{.step = index};
  if (init.kind == Init::kTruncatedNormal) {
    return DrawTruncatedNormal(rng, at, count).mul_(init.scale);
  }
  at::Tensor values = torch::empty({count});
  const absl::Span<float> out(values.mutable_data_ptr<float>(), static_cast<size_t>(count));
  if (init.kind == Init::kNormal) {
    rng.Normal(at, out);
    return values.mul_(init.scale);
  }
  rng.Uniform(at, out);
  return values.mul_(2 * init.scale).sub_(init.scale);
}

}  // namespace

at::Tensor Weights::Add(std::string name, const std::vector<int64_t>& shape, const Init& init) {
  int64_t count = 1;
  for (int64_t side : shape) count *= side;
  at::Tensor values =
      DrawInitial(init, seed_, static_cast<uint32_t>(parameters_.size()), count).reshape(shape);
  values.requires_grad_(true);
  parameters_.emplace_back(std::move(name), values);
  return values;
}

at::Tensor Weights::AddBuffer(std::string name, const std::vector<int64_t>& shape, double value) {
  at::Tensor values = torch::full(shape, value, at::kFloat);
  buffers_.emplace_back(std::move(name), values);
  return values;
}

Conv::Conv(Weights& weights, const std::string& name, int64_t in, int64_t out, int64_t kernel,
           const LayerOptions& options)
    : stride(options.stride), padding(options.padding) {
  const Init he{Init::kNormal, std::sqrt(2.0 / static_cast<double>(kernel * kernel * out))};
  weight = weights.Add(name + ".weight", {out, in, kernel, kernel}, options.init.value_or(he));
  if (options.bias)
    bias = weights.Add(name + ".bias", {out}, {Init::kConstant, options.bias_value});
}

at::Tensor Conv::operator()(const at::Tensor& x) const {
  return ImageConv(x, weight, bias, stride, padding);
}

Linear::Linear(Weights& weights, const std::string& name, int64_t in, int64_t out,
               const LayerOptions& options) {
  const Init uniform{Init::kUniform, 1 / std::sqrt(static_cast<double>(in))};
  weight = weights.Add(name + ".weight", {out, in}, options.init.value_or(uniform));
  if (options.bias)
    bias = weights.Add(name + ".bias", {out}, {Init::kConstant, options.bias_value});
}

at::Tensor Linear::operator()(const at::Tensor& x) const { return at::linear(x, weight, bias); }

BatchNorm::BatchNorm(Weights& weights, const std::string& name, int64_t channels, double eps,
                     double momentum)
    : eps(eps), momentum(momentum) {
  weight = weights.Add(name + ".weight", {channels}, {Init::kConstant, 1});
  bias = weights.Add(name + ".bias", {channels}, {Init::kConstant, 0});
  running_mean = weights.AddBuffer(name + ".running_mean", {channels}, 0);
  running_var = weights.AddBuffer(name + ".running_var", {channels}, 1);
}

at::Tensor BatchNorm::operator()(const at::Tensor& x, bool training) const {
  return at::batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps,
                        at::globalContext().userEnabledCuDNN());
}

NormalisedConv::NormalisedConv(Weights& weights, const std::string& conv_name,
                               const std::string& norm_name, int64_t in, int64_t out,
                               int64_t kernel, int64_t stride, int64_t padding)
    : conv_(weights, conv_name, in, out, kernel,
            {.stride = stride, .padding = padding, .bias = false}),
      norm_(weights, norm_name, out) {}

at::Tensor NormalisedConv::operator()(const at::Tensor& x, bool training) const {
  if (training || conv_.weight.requires_grad() || norm_.weight.requires_grad()) {
    product_ = {};  // training moves the statistics without a change of their version
    return norm_(conv_(x), training);
  }
  Multiply();
  return ImageConv(x, product_.weight, product_.bias, conv_.stride, conv_.padding);
}

void NormalisedConv::Multiply() const {
  std::vector<std::pair<const void*, int64_t>> made_of;
  for (const at::Tensor& part :
       {conv_.weight, norm_.weight, norm_.bias, norm_.running_mean, norm_.running_var}) {
    made_of.emplace_back(part.const_data_ptr(), part._version());
  }
  if (product_.made_of == made_of) return;
  // The product outlives the mode of this call.
  const c10::InferenceMode no_inference(false);
  const at::NoGradGuard no_grad;
  const at::Tensor scale =
      norm_.weight.to(at::kFloat) * at::rsqrt(norm_.running_var.to(at::kFloat) + norm_.eps);
  const at::Tensor shift = norm_.bias.to(at::kFloat) - norm_.running_mean.to(at::kFloat) * scale;
  const at::ScalarType type = conv_.weight.scalar_type();
  product_.weight = (conv_.weight.to(at::kFloat) * scale.view({-1, 1, 1, 1})).to(type);
  product_.bias = shift.to(type);
  product_.made_of = std::move(made_of);
}

at::Tensor MaxPool(const at::Tensor& x, int64_t kernel, int64_t stride, int64_t padding) {
  return at::max_pool2d(x, {kernel, kernel}, {stride, stride}, {padding, padding});
}

at::Tensor GlobalAveragePool(const at::Tensor& x) { return x.mean({2, 3}); }

}  // namespace adamant
