// SPDX-License-Identifier: Apache-2.0
#include "core/models/image_conv.h"

#include <gtest/gtest.h>

#include "core/base/torch.h"

namespace adamant {
namespace {

struct Case {
  int64_t channels, outputs, kernel, stride, padding;
  bool bias;
};

class ImageConvOf : public ::testing::TestWithParam<Case> {
 protected:
  ImageConvOf() {
    at::manual_seed(3);
    const Case& c = GetParam();
    x_ = at::rand({3, c.channels, 9, 7}).requires_grad_(true);
    weight_ = at::randn({c.outputs, c.channels, c.kernel, c.kernel});
    if (c.bias) bias_ = at::randn({c.outputs});
  }

  at::Tensor Ours() const {
    return ImageConv(x_, weight_, bias_, GetParam().stride, GetParam().padding);
  }
  at::Tensor Reference() const {
    return at::conv2d(x_, weight_, bias_.defined() ? std::optional(bias_) : std::nullopt,
                      GetParam().stride, GetParam().padding);
  }
  at::Tensor GradientOf(const at::Tensor& value, bool keep = false) const {
    return torch::autograd::grad({value}, {x_}, {}, keep, keep)[0];
  }

  at::Tensor x_, weight_, bias_;
};

// A scalar with a different weight on each value of `y`, and curvature.
at::Tensor Mixed(const at::Tensor& y) {
  const at::Tensor weights = at::linspace(-1, 1, y.numel()).view_as(y);
  return (weights * y + 0.1 * y * y).sum();
}

TEST_P(ImageConvOf, HasTheValuesOfConv2d) { EXPECT_TRUE(at::equal(Ours(), Reference())); }

TEST_P(ImageConvOf, HasTheGradientOfConv2d) {
  const at::Tensor expected = GradientOf(Mixed(Reference()));
  EXPECT_TRUE(at::allclose(GradientOf(Mixed(Ours())), expected, 1e-5, 1e-5));
}

TEST_P(ImageConvOf, HasGradientsOfGradients) {
  const at::Tensor expected = GradientOf(GradientOf(Mixed(Reference()), true).square().sum());
  const at::Tensor found = GradientOf(GradientOf(Mixed(Ours()), true).square().sum());
  EXPECT_TRUE(at::allclose(found, expected, 1e-4, 1e-4)) << (found - expected).abs().max();
}

INSTANTIATE_TEST_SUITE_P(, ImageConvOf,
                         ::testing::Values(Case{1, 32, 3, 1, 1, true}, Case{3, 8, 3, 1, 1, false},
                                           Case{2, 5, 5, 1, 0, true}, Case{1, 4, 3, 1, 2, false},
                                           Case{4, 3, 1, 1, 0, true}, Case{3, 8, 3, 2, 1, true},
                                           Case{8, 8, 3, 1, 1, true}));

TEST(ImageConv, GivesTheWeightsTheirGradient) {
  const at::Tensor x = at::rand({2, 1, 6, 6}).requires_grad_(true);
  const at::Tensor weight = at::randn({4, 1, 3, 3}).requires_grad_(true);
  ImageConv(x, weight, {}, 1, 1).square().sum().backward();
  EXPECT_TRUE(weight.grad().defined());
  EXPECT_TRUE(x.grad().defined());
}

// Rows do not depend on their neighbours.
TEST(ImageConv, HasTheSameGradientInAnyOrderOfRows) {
  at::manual_seed(4);
  const at::Tensor weight = at::randn({32, 1, 3, 3});
  const at::Tensor images = at::rand({8, 1, 28, 28});
  const auto gradient = [&](const at::Tensor& rows) {
    const at::Tensor x = rows.clone().requires_grad_(true);
    return torch::autograd::grad({Mixed(ImageConv(x, weight, {}, 1, 1)[3])}, {x})[0][3];
  };
  at::Tensor turned = images.flip(0);
  turned[3] = images[3];
  EXPECT_TRUE(at::equal(gradient(images), gradient(turned)));
}

}  // namespace
}  // namespace adamant
