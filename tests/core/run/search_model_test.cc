// SPDX-License-Identifier: Apache-2.0
#include "core/run/search_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/torch.h"
#include "core/models/toy_models.h"
#include "tests/support/torch/memory_run_context.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

at::Tensor Images(int64_t count, at::IntArrayRef shape) {
  at::Tensor images = toy::Fixed({count, shape[0], shape[1], shape[2]}, "images").to(at::kFloat);
  return images.mul_(0.5).add_(0.5);
}

std::unique_ptr<Model> SmallResnet() {
  return *MakePlugin<Model>(Plugin("resnet", {{"depth", 20}}), ModelShape{}, uint64_t{3});
}

TEST(SearchModel, ComputesNearFloat32AndReturnsFloat32) {
  const auto model = SmallResnet();
  const at::Tensor images = Images(4, {3, 32, 32});
  const auto made = MakeSearchModel(*model, "bf16", "cpu", images, {});
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_NE(made->model, nullptr) << made->note;
  EXPECT_EQ(made->precision, "bf16");
  EXPECT_THAT(made->note, HasSubstr("on 4 images"));
  const at::NoGradGuard no_grad;
  const at::Tensor exact = model->Logits(images);
  const at::Tensor low = made->model->Logits(images);
  EXPECT_EQ(low.scalar_type(), at::kFloat);
  EXPECT_FALSE(low.equal(exact));
  EXPECT_LT((low - exact).abs().max().item<double>(), 0.1 * exact.abs().max().item<double>());
}

TEST(SearchModel, LeavesTheModelAlone) {
  const auto model = SmallResnet();
  const std::string before = WeightsDigest(*model);
  const at::Tensor images = Images(2, {3, 32, 32});
  ASSERT_TRUE(MakeSearchModel(*model, "bf16", "cpu", images, {}).ok());
  EXPECT_EQ(WeightsDigest(*model), before);
  EXPECT_TRUE(model->Parameters()[0].second.requires_grad());
}

TEST(SearchModel, TapsStayFloat32) {
  const auto model = SmallResnet();
  const auto made = MakeSearchModel(*model, "bf16", "cpu", Images(2, {3, 32, 32}), {});
  ASSERT_TRUE(made.ok() && made->model != nullptr);
  const Outputs outputs = made->model->ForwardWithTaps(Images(2, {3, 32, 32}), {"conv2_x"});
  EXPECT_EQ(outputs.taps.at("conv2_x").scalar_type(), at::kFloat);
}

TEST(SearchModel, IsTheModelItselfInFloat32) {
  const auto model = SmallResnet();
  const auto made = MakeSearchModel(*model, "", "cpu", Images(2, {3, 32, 32}), {});
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->model, nullptr);
  EXPECT_EQ(made->precision, "fp32");
  EXPECT_EQ(made->note, "");
}

TEST(SearchModel, RefusesWhatItCannotDo) {
  const auto toy = ToyLinear({1, 8, 8, 3});
  const auto refused = MakeSearchModel(*toy, "bf16", "cpu", Images(2, {1, 8, 8}), {});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("use fp32"));
  EXPECT_EQ(MakeSearchModel(*toy, "fp8", "cpu", Images(2, {1, 8, 8}), {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// A model whose gradient in a lower precision points elsewhere: its copy is another network.
class Turncoat : public ToyModel {
 public:
  Turncoat(const at::Tensor& weight, double sign)
      : ToyModel({1, 8, 8, 3},
                 [weight, sign](const at::Tensor& images, bool) {
                   return toy::Affine(images.flatten(1).to(at::kDouble), sign * weight,
                                      at::zeros({3}, at::kDouble))
                       .to(at::kFloat);
                 }),
        weight_(weight) {}

  absl::StatusOr<std::unique_ptr<Model>> CopyIn(at::ScalarType) const override {
    return std::make_unique<Turncoat>(weight_, -1);
  }

 private:
  at::Tensor weight_;
};

TEST(SearchModel, StaysInFloat32WhereGradientsPointElsewhere) {
  Turncoat model(toy::Fixed({3, 64}, "weight"), 1);
  const auto made = MakeSearchModel(model, "bf16", "cpu", Images(4, {1, 8, 8}), {});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->model, nullptr);
  EXPECT_EQ(made->precision, "fp32");
  EXPECT_THAT(made->note, HasSubstr("the search ran in fp32"));
}

}  // namespace
}  // namespace adamant
