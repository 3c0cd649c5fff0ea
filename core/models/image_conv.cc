// SPDX-License-Identifier: Apache-2.0
#include "core/models/image_conv.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/base/torch.h"
#include "core/models/fold_rows.h"

namespace adamant {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kFewChannels = 4;

// Whether the gradient for x is wanted, and quicker as a matrix product.
bool PaysOff(const at::Tensor& x, const at::Tensor& weight, int64_t stride) {
  const bool wanted = at::GradMode::is_enabled() && x.requires_grad() && !weight.requires_grad();
  return wanted && stride == 1 && x.size(1) <= kFewChannels && weight.size(2) == weight.size(3) &&
         x.device().is_cpu() && x.scalar_type() == at::kFloat;
}

// planes [N, C*k*k, P] -> [N,C,H,W]
at::Tensor Folded(const at::Tensor& planes, const FoldSizes& sizes) {
  const at::Tensor dense = planes.contiguous();
  const at::Tensor images =
      at::empty({planes.size(0), sizes.channels, sizes.height, sizes.width}, planes.options());
  const int64_t in = dense.stride(0);
  const int64_t out = images.stride(0);
  const auto* from = dense.const_data_ptr<float>();
  auto* to = images.data_ptr<float>();
  at::parallel_for(0, planes.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) FoldPlanes(sizes, from + n * in, to + n * out);
  });
  return images;
}

struct ConvFunction : torch::autograd::Function<ConvFunction> {
  // `bias` may be undefined.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, int64_t padding) {
    context->saved_data["weight"] = weight;
    context->saved_data["height"] = x.size(2);
    context->saved_data["width"] = x.size(3);
    context->saved_data["padding"] = padding;
    return at::conv2d(x, weight, bias, 1, padding);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor weight = context->saved_data["weight"].toTensor();
    const FoldSizes sizes{.channels = weight.size(1),
                          .height = context->saved_data["height"].toInt(),
                          .width = context->saved_data["width"].toInt(),
                          .kernel = weight.size(2),
                          .padding = context->saved_data["padding"].toInt()};
    const at::Tensor planes = at::matmul(weight.flatten(1).t(), gradients[0].flatten(2));
    // With a graph (gradients of gradients) by the operator that has a gradient.
    const at::Tensor x = planes.requires_grad() ? at::col2im(planes, {sizes.height, sizes.width},
                                                             {sizes.kernel, sizes.kernel}, {1, 1},
                                                             {sizes.padding, sizes.padding}, {1, 1})
                                                : Folded(planes, sizes);
    return {x, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor ImageConv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     int64_t stride, int64_t padding) {
  const std::optional<at::Tensor> given =
      bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
  if (PaysOff(x, weight, stride)) return ConvFunction::apply(x, weight, given, padding);
  return at::conv2d(x, weight, given, stride, padding);
}

}  // namespace adamant
