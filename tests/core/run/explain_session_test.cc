// SPDX-License-Identifier: Apache-2.0
#include "core/run/explain_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/base/torch.h"
#include "core/engine.h"
#include "core/run/explain.h"
#include "tests/support/torch/memory_run_context.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

// mini_gap with fresh weights and inline images of 28 x 28.
class ExplainSessionTest : public ::testing::Test {
 protected:
  ExplainSessionTest() {
    context_.UseFreshModel(Plugin("mini_gap", {{"width", 4}}), {1, 28, 28, 10});
    auto opened = engine::OpenExplainSession(context_.model(), "cpu");
    EXPECT_TRUE(opened.ok()) << opened.status();
    session_ = *std::move(opened);
    spec_.add_explainers()->set_name("grad_cam");
  }

  void AddImage(double level) {
    v1::InlineImage& image = *spec_.add_images();
    image.mutable_raw_shape()->set_channels(1);
    image.mutable_raw_shape()->set_height(28);
    image.mutable_raw_shape()->set_width(28);
    std::vector<float> pixels(28 * 28);
    for (size_t i = 0; i < pixels.size(); ++i)
      pixels[i] = static_cast<float>(level * static_cast<double>(i % 28) / 28);
    image.set_data(pixels.data(), pixels.size() * sizeof(float));
  }

  absl::Status Ask(const RunControl& control = {}) {
    response_.Clear();
    return engine::Explain(*session_, spec_, control, response_);
  }

  MemoryRunContext context_;
  std::unique_ptr<ExplainSession> session_;
  v1::ExplainSpec spec_;
  v1::ExplainResponse response_;
};

TEST_F(ExplainSessionTest, GivesTheMapsOfAJobAndTheClasses) {
  AddImage(1);
  AddImage(0.5);
  for (const auto output : {v1::RAW_MAP, v1::OVERLAY_PNG, v1::TOP_CLASSES, v1::LAYERS})
    spec_.add_outputs(output);
  const absl::Status status = Ask();
  ASSERT_TRUE(status.ok()) << status;
  v1::ExplainSpec job = spec_;
  job.clear_outputs();
  v1::ExplainReport report;
  ASSERT_TRUE(RunExplain(job, context_, report).ok());
  ASSERT_EQ(response_.images_size(), 2);
  for (int i = 0; i < 2; ++i) {
    const v1::ExplainedImage& image = response_.images(i);
    ASSERT_EQ(image.maps_size(), 1);
    const v1::ExplainMap& map = image.maps(0);
    EXPECT_EQ(map.layer(), report.rows(i).layer());
    EXPECT_EQ(map.target_class(), report.rows(i).predicted());
    ASSERT_EQ(map.raw().size(), 4U * map.height() * map.width());
    std::vector<float> values(map.raw().size() / 4);
    std::memcpy(values.data(), map.raw().data(), map.raw().size());
    EXPECT_FLOAT_EQ(*std::max_element(values.begin(), values.end()), report.rows(i).raw_max());
    EXPECT_EQ(map.overlay_png().substr(1, 3), "PNG");
    EXPECT_TRUE(map.heatmap_png().empty());
    ASSERT_EQ(image.top_size(), 5);
    EXPECT_EQ(image.top(0).index(), report.rows(i).predicted());
    EXPECT_NEAR(image.top(0).probability(), report.rows(i).confidence(), 1e-6);
    EXPECT_GE(image.top(0).logit(), image.top(1).logit());
  }
  EXPECT_GT(response_.layers_size(), 0);
}

TEST_F(ExplainSessionTest, PutsTheAttackedMapBehindTheCleanOne) {
  AddImage(1);
  spec_.mutable_attack()->mutable_attack()->set_name("fgsm");
  spec_.mutable_attack()->mutable_threat()->set_norm(v1::LINF);
  spec_.mutable_attack()->mutable_threat()->set_epsilon(0);
  spec_.add_outputs(v1::UPSAMPLED_MAP);
  const absl::Status status = Ask();
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(response_.images(0).maps_size(), 2);
  EXPECT_EQ(response_.images(0).maps(0).height(), 28);
  // An attack without strength changes nothing.
  EXPECT_EQ(response_.images(0).maps(0).raw(), response_.images(0).maps(1).raw());
}

TEST_F(ExplainSessionTest, StopsBetweenChunksAndAnswersAgain) {
  for (int i = 0; i < 20; ++i) AddImage(0.05 * i);
  spec_.add_outputs(v1::RAW_MAP);
  int looks = 0;
  EXPECT_EQ(Ask(RunControl([&] { return ++looks > 2; })).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(looks, 3);  // chunks of 8: the third did not begin
  EXPECT_TRUE(Ask().ok());
  EXPECT_EQ(response_.images_size(), 20);
}

TEST_F(ExplainSessionTest, RefusesAnAnswerAboveThreeMebibytes) {
  for (int i = 0; i < 10; ++i) AddImage(1);
  spec_.add_outputs(v1::OVERLAY_PNG);
  spec_.add_outputs(v1::HEATMAP_PNG);
  spec_.mutable_display()->set_scale(64);
  const absl::Status status = Ask();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("display.scale"));
}

TEST_F(ExplainSessionTest, NamesAnImageThatDoesNotFit) {
  AddImage(1);
  spec_.mutable_images(0)->clear_raw_shape();
  EXPECT_EQ(Ask().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Ask().message()), HasSubstr("images[0]"));
}

}  // namespace
}  // namespace adamant
