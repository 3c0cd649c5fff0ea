// SPDX-License-Identifier: Apache-2.0
// What every registered explainer must satisfy, on mini_gap, which has everything one may need.
#include <gtest/gtest.h>

#include "tests/core/explainers/toy.h"

namespace adamant {
namespace {

class EveryExplainer : public ::testing::TestWithParam<std::string> {
 protected:
  EveryExplainer() {
    v1::PluginSpec spec =
        Plugin(GetParam(), Registry<Explainer>::All().at(GetParam()).declaration.test_params);
    explainer_ = *MakePlugin<Explainer>(spec);
  }

  ExplainMaps Explain(const ExplainInput& input) {
    ModelView view(*model_);
    return explainer_->Explain(view, input);
  }

  // Rows begin..end of `input`.
  static ExplainInput Rows(ExplainInput input, int64_t begin, int64_t end) {
    input.images = input.images.slice(0, begin, end);
    input.classes = input.classes.slice(0, begin, end);
    input.ids = input.ids.slice(0, begin, end);
    return input;
  }

  std::unique_ptr<Model> model_ = MiniGap();
  std::unique_ptr<Explainer> explainer_;
  ExplainInput input_ = Input(*model_, 32);
};

TEST_P(EveryExplainer, GivesOneFiniteMapPerImageAndLayer) {
  const ExplainMaps maps = Explain(input_);
  ASSERT_EQ(maps.layers.size(), 1U);
  EXPECT_EQ(maps.layers[0].layer, "a4");
  EXPECT_EQ(maps.layers[0].raw.dim(), 3);
  EXPECT_EQ(maps.layers[0].raw.size(0), 32);
  EXPECT_TRUE(maps.layers[0].raw.isfinite().all().item<bool>());
  EXPECT_EQ(maps.layers[0].empty.size(0), 32);
  EXPECT_EQ(maps.scores.size(0), 32);
  if (explainer_->signedness() == Signedness::kNonNegative) {
    EXPECT_GE(maps.layers[0].raw.min().item<float>(), 0);
  }
}

TEST_P(EveryExplainer, DoesNotDependOnTheChunk) {
  const at::Tensor whole = Explain(input_).layers[0].raw;
  std::vector<at::Tensor> single;
  for (int64_t i = 0; i < 32; ++i) {
    single.push_back(Explain(Rows(input_, i, i + 1)).layers[0].raw);
  }
  EXPECT_LE(RelativeDifference(torch::cat(single), whole), 1e-5);
}

TEST_P(EveryExplainer, GivesTheSameBitsAgain) {
  EXPECT_TRUE(torch::equal(Explain(input_).layers[0].raw, Explain(input_).layers[0].raw));
}

TEST_P(EveryExplainer, LeavesTheModelAsItWas) {
  model_->Train(true);
  const std::string before = WeightsDigest(*model_);
  Explain(input_);
  EXPECT_EQ(WeightsDigest(*model_), before);
  EXPECT_TRUE(model_->training());
}

TEST_P(EveryExplainer, CostsWhatItStates) {
  ModelView view(*model_);
  explainer_->Explain(view, input_);
  EXPECT_EQ(view.forwards(), 32 * explainer_->Cost().forwards);
  EXPECT_EQ(view.backwards(), 32 * explainer_->Cost().backwards);
}

TEST_P(EveryExplainer, RunsOnCuda) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "needs a CUDA device";
  const at::Tensor cpu = Explain(input_).layers[0].raw;
  model_->To(c10::Device("cuda"));
  input_.images = input_.images.cuda();
  input_.classes = input_.classes.cuda();
  EXPECT_LE(RelativeDifference(Explain(input_).layers[0].raw.cpu(), cpu), 1e-3);
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const auto& [name, entry] : Registry<Explainer>::All()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryExplainer, ::testing::ValuesIn(Names()),
                         [](const auto& info) { return info.param; });

TEST(ExplainerRegistry, HoldsTheFirstMembers) {
  EXPECT_EQ(Registry<Explainer>::All().count("cam"), 1U);
  EXPECT_EQ(Registry<Explainer>::All().count("grad_cam"), 1U);
}

}  // namespace
}  // namespace adamant
