// SPDX-License-Identifier: Apache-2.0
#include "core/run/row_memory.h"

#include <gtest/gtest.h>

#include "core/base/torch.h"
#include "core/models/model_file.h"

namespace adamant {
namespace {

std::unique_ptr<Model> Zoo(const std::string& name, const ModelShape& shape) {
  ModelInput input;
  input.architecture.set_name(name);
  input.shape = shape;
  auto model = OpenModel(input);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

TEST(RowMemory, GrowsWithTheArea) {
  const RowMemory small = MeasureRowMemory(*Zoo("resnet", {3, 32, 32, 10}));
  const RowMemory large = MeasureRowMemory(*Zoo("resnet", {3, 64, 64, 10}));
  EXPECT_NEAR(static_cast<double>(large.per_row) / static_cast<double>(small.per_row), 4, 0.2);
}

// ResNet-18 keeps the output of each ReLU: 5 maps of 64x32x32 floats, 4 of half that size, 4 of a
// quarter and 4 of an eighth are 2.125 MiB.
TEST(RowMemory, HoldsWhatTheBackwardPassNeeds) {
  const RowMemory memory = MeasureRowMemory(*Zoo("resnet", {3, 32, 32, 10}));
  EXPECT_GE(memory.per_row, 17 << 17);
  EXPECT_LT(memory.per_row, 6 << 20);
}

TEST(RowMemory, IsTheSameTwice) {
  const auto model = Zoo("mini_gap", {3, 32, 32, 10});
  EXPECT_EQ(MeasureRowMemory(*model).Of(64), MeasureRowMemory(*model).Of(64));
}

TEST(RowsWithin, TakesSixtyPercentOfTheBudget) {
  const RowMemory memory{.fixed = 20, .per_row = 10};
  EXPECT_EQ(RowsWithin(memory, 1000, 64), 32);  // 660 > 600 at 64 rows, 340 at 32
  EXPECT_EQ(RowsWithin(memory, 1100, 64), 64);  // 660 of 660
  EXPECT_EQ(RowsWithin(memory, 1, 64), 1);
}

}  // namespace
}  // namespace adamant
