// SPDX-License-Identifier: Apache-2.0
#include "core/run/model_figures.h"

#include <gtest/gtest.h>

#include "core/base/torch.h"

namespace adamant {
namespace {

std::unique_ptr<Model> Zoo(const std::string& name, const ModelShape& shape) {
  v1::PluginSpec spec;
  spec.set_name(name);
  auto model = MakePlugin<Model>(spec, shape, 0);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

TEST(ModelFigures, OfLenetAreThoseComputedByHand) {
  const ModelFigures found = MeasureFigures(*Zoo("lenet", {1, 28, 28, 10}));
  // 2 * outputs * (in * 5 * 5), then 2 * in * out.
  const int64_t conv1 = 2 * (32 * 28 * 28) * (1 * 25);
  const int64_t conv2 = 2 * (64 * 14 * 14) * (32 * 25);
  const int64_t linear = 2 * 3136 * 1024 + 2 * 1024 * 10;
  EXPECT_EQ(found.flops, conv1 + conv2 + linear);
  EXPECT_EQ(found.flops, 27'767'808);
  // float32 results of each layer; ReLU and max-pooling are one, and keep a position of a byte.
  const int64_t block1 = 4 * (32 * 28 * 28) + (4 + 1) * (32 * 14 * 14);
  const int64_t block2 = 4 * (64 * 14 * 14) + (4 + 1) * (64 * 7 * 7);
  const int64_t head = 2 * 4 * 1024 + 4 * 10;
  EXPECT_EQ(found.activation_bytes, block1 + block2 + head);
}

TEST(ModelFigures, GrowWithTheImage) {
  const ModelFigures small = MeasureFigures(*Zoo("mini_gap", {1, 28, 28, 10}));
  const ModelFigures large = MeasureFigures(*Zoo("mini_gap", {1, 56, 56, 10}));
  EXPECT_GT(small.flops, 0);
  EXPECT_GT(large.flops, 3 * small.flops);
  EXPECT_GT(large.activation_bytes, 3 * small.activation_bytes);
}

}  // namespace
}  // namespace adamant
