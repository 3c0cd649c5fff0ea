// SPDX-License-Identifier: Apache-2.0
// What every registered architecture must do, at its own shape or at 1x28x28.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/torch.h"
#include "core/models/model.h"
#include "core/models/model_file.h"

namespace adamant {
namespace {

constexpr int64_t kBatch = 5;

std::vector<std::string> AllNames() {
  std::vector<std::string> names;
  for (const auto& [name, entry] : Registry<Model>::All()) names.push_back(name);
  return names;
}

at::Tensor Images(const ModelShape& s, int64_t n) {
  const int64_t pixels = n * s.channels * s.height * s.width;
  return torch::arange(pixels)
      .mul(97)
      .remainder(256)
      .to(at::kFloat)
      .div(255)
      .reshape({n, s.channels, s.height, s.width});
}

class ModelConformance : public ::testing::TestWithParam<std::string> {
 protected:
  static std::unique_ptr<Model> Make(uint64_t seed = 1) {
    const auto& entry = Registry<Model>::All().at(GetParam());
    v1::PluginSpec spec;
    spec.set_name(GetParam());
    for (const auto& [key, value] : entry.declaration.test_params) {
      (*spec.mutable_params()->mutable_fields())[key].set_number_value(value);
    }
    auto own = MakePlugin<Model>(spec, ModelShape{}, seed);
    if (own.ok()) return *std::move(own);
    auto small = MakePlugin<Model>(spec, ModelShape{1, 28, 28, 10}, seed);
    EXPECT_TRUE(small.ok()) << small.status();
    return *std::move(small);
  }

  static void ExpectClose(const at::Tensor& a, const at::Tensor& b) {
    const double scale = b.abs().max().item<double>();
    EXPECT_LE((a - b).abs().max().item<double>(), 1e-3 * scale);
  }
};

TEST_P(ModelConformance, CountsItsParameters) {
  const auto model = Make();
  int64_t count = 0;
  for (const auto& [name, tensor] : model->Parameters()) {
    EXPECT_TRUE(tensor.requires_grad()) << name;
    count += tensor.numel();
  }
  EXPECT_EQ(model->info().parameter_count, count);
  EXPECT_GT(count, 0);
  EXPECT_TRUE(model->info().trainable);
}

TEST_P(ModelConformance, InitialWeightsDependOnTheSeedAlone) {
  EXPECT_EQ(WeightsDigest(*Make(1)), WeightsDigest(*Make(1)));
  EXPECT_NE(WeightsDigest(*Make(1)), WeightsDigest(*Make(2)));
}

TEST_P(ModelConformance, GivesTheSameLogitsWhateverTheBatch) {
  const torch::NoGradGuard no_grad;
  const auto model = Make();
  const at::Tensor images = Images(model->info().shape, 7);
  const at::Tensor all = model->Logits(images);
  ASSERT_EQ(all.sizes(), (at::IntArrayRef{7, model->info().shape.num_classes}));
  EXPECT_TRUE(all.equal(model->Logits(images)));
  ExpectClose(model->Logits(images.slice(0, 0, 1)), all.slice(0, 0, 1));
  ExpectClose(model->Logits(images.slice(0, 0, kBatch)), all.slice(0, 0, kBatch));
}

TEST_P(ModelConformance, EvaluationLeavesTheWeightsAlone) {
  const auto model = Make();
  const std::string before = WeightsDigest(*model);
  model->Logits(Images(model->info().shape, kBatch));
  EXPECT_FALSE(model->training());
  EXPECT_EQ(WeightsDigest(*model), before);
}

TEST_P(ModelConformance, TrainingReachesEveryParameter) {
  const auto model = Make();
  model->Train(true);
  model->SetDropoutStream(1, 0);
  model->Logits(Images(model->info().shape, kBatch)).square().sum().backward();
  for (const auto& [name, tensor] : model->Parameters()) {
    ASSERT_TRUE(tensor.grad().defined()) << name;
    EXPECT_TRUE(tensor.grad().isfinite().all().item<bool>()) << name;
  }
}

TEST_P(ModelConformance, TrainingPassesAreReproducible) {
  const auto one = Make(), other = Make();
  for (Model* model : {one.get(), other.get()}) {
    model->Train(true);
    model->SetDropoutStream(3, 8);
  }
  const at::Tensor images = Images(one->info().shape, kBatch);
  for (int call = 0; call < 2; ++call) {
    EXPECT_TRUE(one->Logits(images).equal(other->Logits(images)));
  }
  EXPECT_EQ(WeightsDigest(*one), WeightsDigest(*other));
}

TEST_P(ModelConformance, TapsHaveTheDeclaredShapes) {
  const torch::NoGradGuard no_grad;
  const auto model = Make();
  std::vector<std::string> names;
  for (const Tap& tap : model->info().taps) names.push_back(tap.name);
  const at::Tensor images = Images(model->info().shape, 2);
  const Outputs outputs = model->ForwardWithTaps(images, names);
  EXPECT_TRUE(outputs.logits.equal(model->Logits(images)));
  ASSERT_EQ(outputs.taps.size(), names.size());
  for (const Tap& tap : model->info().taps) {
    std::vector<int64_t> sizes{2, tap.channels};
    if (tap.height > 0) sizes.insert(sizes.end(), {tap.height, tap.width});
    EXPECT_EQ(outputs.taps.at(tap.name).sizes(), at::IntArrayRef(sizes)) << tap.name;
  }
  EXPECT_TRUE(model->FindTap("logits_in").ok());
  EXPECT_EQ(model->FindTap("last_conv")->name, model->info().default_tap);
}

TEST_P(ModelConformance, AVisitorReplacesATap) {
  const torch::NoGradGuard no_grad;
  const auto model = Make();
  for (const Tap& tap : model->info().taps) {
    const auto zero = [&](const std::string& name, const at::Tensor& value) {
      return name == tap.name ? torch::zeros_like(value) : value;
    };
    const at::Tensor logits = model->Forward(Images(model->info().shape, 2), zero);
    // The images no longer reach the logits.
    EXPECT_TRUE(logits[0].allclose(logits[1])) << tap.name;
  }
}

TEST_P(ModelConformance, GapHeadIsTheLinearLayerBehindTheMeanOfTheMaps) {
  const torch::NoGradGuard no_grad;
  const auto model = Make();
  if (!model->info().gap_head) {
    EXPECT_FALSE(model->GapHead().first.defined());
    return;
  }
  const auto [weight, bias] = model->GapHead();
  const std::vector<std::string> taps{"last_conv"};
  const Outputs outputs = model->ForwardWithTaps(Images(model->info().shape, 3), taps);
  const at::Tensor pooled = outputs.taps.at("last_conv").mean(at::IntArrayRef{2, 3});
  ExpectClose(pooled.matmul(weight.t()) + bias, outputs.logits);
}

TEST_P(ModelConformance, SurvivesItsModelFileBitForBit) {
  const auto model = Make();
  model->Train(true);
  model->Logits(Images(model->info().shape, kBatch));  // moves the running statistics
  model->Train(false);
  const std::string bytes = SerializeModel(*model);
  ModelInput input;
  input.file = FileView::Own(bytes);
  const auto again = OpenModel(input);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(WeightsDigest(**again), WeightsDigest(*model));
  EXPECT_EQ((*again)->info().normaliser, model->info().normaliser);
  EXPECT_EQ(SerializeModel(**again), bytes);
  const at::Tensor images = Images(model->info().shape, 3);
  EXPECT_TRUE((*again)->Logits(images).equal(model->Logits(images)));
}

TEST_P(ModelConformance, RefusesOneClassAndImagesOfAnotherSize) {
  const auto model = Make();
  ModelShape shape = model->info().shape;
  EXPECT_ANY_THROW(model->Logits(torch::zeros({1, shape.channels, shape.height + 1, shape.width})));
  shape.num_classes = 1;
  EXPECT_EQ(MakePlugin<Model>(model->info().architecture, shape, uint64_t{1}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(All, ModelConformance, ::testing::ValuesIn(AllNames()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace adamant
