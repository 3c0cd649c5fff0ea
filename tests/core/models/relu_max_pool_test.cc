// SPDX-License-Identifier: Apache-2.0
#include "core/models/relu_max_pool.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/base/torch.h"
#include "core/models/model.h"

namespace adamant {
namespace {

at::Tensor Fused(const at::Tensor& x) { return ReluMaxPool(x); }
at::Tensor Separate(const at::Tensor& x) { return at::max_pool2d(at::relu(x), {2, 2}); }

// Halves and zeros, so that windows hold ties and nothing positive.
at::Tensor Images(const std::vector<int64_t>& sizes) {
  const at::Tensor index = at::arange(sizes[0] * sizes[1] * sizes[2] * sizes[3], at::kFloat);
  return ((index * 37).remainder(11) - 6).div(2).view(sizes);
}

struct Derivatives {
  at::Tensor value, gradient, second;
};

// Of sum(w * f(x)^2): the gradient with respect to x, and the gradient of sum(v * that gradient).
Derivatives Differentiate(at::Tensor (*function)(const at::Tensor&), const at::Tensor& images) {
  const at::Tensor x = images.detach().clone().requires_grad_(true);
  const at::Tensor value = function(x);
  const at::Tensor w = at::arange(value.numel(), at::kFloat).remainder(5).view(value.sizes());
  const at::Tensor gradient = torch::autograd::grad({(w * value.square()).sum()}, {x}, {},
                                                    std::nullopt, /*create_graph=*/true)[0];
  const at::Tensor v = at::arange(x.numel(), at::kFloat).remainder(7).view(x.sizes());
  return {value.detach(), gradient.detach(), torch::autograd::grad({(v * gradient).sum()}, {x})[0]};
}

TEST(ReluMaxPool, EqualsTheTwoOperationsToTheBit) {
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{2, 3, 28, 28},
                                            {1, 2, 14, 14},
                                            {2, 1, 5, 7},
                                            {1, 1, 2, 2},
                                            {1, 2, 66, 70},
                                            {1, 1, 6, 32},
                                            {1, 1, 6, 34}}) {
    const at::Tensor x = Images(sizes);
    const Derivatives found = Differentiate(Fused, x);
    const Derivatives expected = Differentiate(Separate, x);
    EXPECT_TRUE(found.value.equal(expected.value)) << sizes;
    EXPECT_TRUE(found.gradient.equal(expected.gradient)) << sizes;
    EXPECT_TRUE(found.second.equal(expected.second)) << sizes;
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(ReluMaxPool(x).equal(expected.value)) << sizes;
  }
}

// In bfloat16 the gradient alone; there are no second ones.
TEST(ReluMaxPool, EqualsTheTwoOperationsInBfloat16) {
  for (const std::vector<int64_t>& sizes :
       {std::vector<int64_t>{2, 32, 28, 28}, {3, 33, 5, 7}, {1, 1, 2, 2}, {1, 100, 14, 14}}) {
    const auto differentiate = [&](at::Tensor (*function)(const at::Tensor&)) {
      const at::Tensor x = Images(sizes)
                               .to(at::kBFloat16, false, false, at::MemoryFormat::ChannelsLast)
                               .requires_grad_(true);
      const at::Tensor value = function(x);
      const at::Tensor w = at::arange(value.numel()).remainder(5).view(value.sizes()).to(value);
      return std::make_pair(value.detach(),
                            torch::autograd::grad({(w * value).sum()}, {x})[0].detach());
    };
    const auto [value, gradient] = differentiate(Fused);
    const auto [expected, expected_gradient] = differentiate(Separate);
    EXPECT_TRUE(value.equal(expected)) << sizes;
    EXPECT_TRUE(gradient.equal(expected_gradient)) << sizes;
  }
}

TEST(ReluMaxPool, RefusesGradientsOfGradientsInBfloat16) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx512bw")) GTEST_SKIP() << "no fused pooling here";
  const at::Tensor x = Images({1, 2, 4, 4}).to(at::kBFloat16).requires_grad_(true);
  EXPECT_THROW(torch::autograd::grad({ReluMaxPool(x).sum()}, {x}, {}, std::nullopt,
                                     /*create_graph=*/true),
               c10::Error);
#endif
}

TEST(ReluMaxPool, LeaksInBfloat16AsInFloat32) {
  const at::Tensor x = Images({2, 3, 6, 6});
  const at::Tensor slopes = at::tensor({0.5F, 0.25F});
  const auto gradient = [&](at::ScalarType type) {
    const at::Tensor leaf = x.clone().requires_grad_(true);
    return torch::autograd::grad({ReluMaxPool(leaf.to(type), slopes).to(at::kFloat).sum()},
                                 {leaf})[0];
  };
  EXPECT_TRUE(gradient(at::kBFloat16).equal(gradient(at::kFloat)));
}

TEST(ReluMaxPool, TakesAnInputThatIsNotContiguous) {
  const at::Tensor x = Images({2, 4, 8, 8}).contiguous(at::MemoryFormat::ChannelsLast);
  EXPECT_TRUE(ReluMaxPool(x).equal(Separate(x)));
}

TEST(ReluMaxPool, PassesNaNAndInfinityOn) {
  const at::Tensor x = -at::ones({1, 1, 2, 34});
  x[0][0][1][3] = std::numeric_limits<float>::quiet_NaN();
  x[0][0][0][32] = std::numeric_limits<float>::infinity();
  const at::Tensor out = ReluMaxPool(x);
  EXPECT_TRUE(at::isnan(out[0][0][0][1]).item<bool>());
  EXPECT_TRUE(at::isinf(out[0][0][0][16]).item<bool>());
  EXPECT_EQ(at::nan_to_num(out, 0.0, 0.0, 0.0).sum().item<float>(), 0);
}

// Windows of [[-3,-1],[-2,-4]] and [[1,-1],[0,-2]] in each of two images.
TEST(ReluMaxPool, LetsAnInactiveWindowPassItsSlopeToItsLargestValue) {
  const at::Tensor one = at::tensor({-3.0F, -1.0F, 1.0F, -1.0F, -2.0F, -4.0F, 0.0F, -2.0F});
  const at::Tensor x = at::cat({one, one}).view({2, 1, 2, 4}).requires_grad_(true);
  const at::Tensor out = ReluMaxPool(x, at::tensor({0.25F, 0.0F}));
  const at::Tensor gradient = torch::autograd::grad({(out * 8).sum()}, {x})[0];
  const at::Tensor first = at::tensor({0.0F, 2.0F, 8.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F});
  const at::Tensor second = at::tensor({0.0F, 0.0F, 8.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F});
  EXPECT_TRUE(gradient.equal(at::cat({first, second}).view({2, 1, 2, 4})));
}

TEST(LeakyLogits, ChangesGradientsOnlyAndByTheSlopeOfEachImage) {
  v1::PluginSpec spec;
  spec.set_name("mnist_cnn");
  const auto model = *MakePlugin<Model>(spec, ModelShape{}, 3);
  ASSERT_TRUE(model->info().visible_relus);
  const at::Tensor images = Images({2, 1, 28, 28}).abs() / 3;
  const auto gradient = [&](const at::Tensor& slopes) {
    const at::Tensor x = images.clone().requires_grad_(true);
    const at::Tensor logits = slopes.defined() ? model->LeakyLogits(x, slopes) : model->Logits(x);
    EXPECT_TRUE(logits.equal(model->Logits(images)));
    return torch::autograd::grad({logits.sum()}, {x})[0];
  };
  const at::Tensor plain = gradient({});
  const at::Tensor leaky = gradient(at::tensor({0.0F, 0.5F}));
  EXPECT_TRUE(at::allclose(leaky[0], plain[0], 1e-6, 1e-7));
  EXPECT_GT((leaky[1] - plain[1]).abs().max().item<float>(), 1e-4);
}

}  // namespace
}  // namespace adamant
