// SPDX-License-Identifier: Apache-2.0
#include "core/run/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/sha256.h"
#include "core/base/torch.h"
#include "core/data/image_file.h"
#include "core/models/safetensors.h"
#include "core/run/explain_plan.h"
#include "tests/support/test_data.h"
#include "tests/support/torch/memory_run_context.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

// mini_gap with fresh weights on `count` test images of `shapes`.
class ExplainRun : public ::testing::Test {
 protected:
  ExplainRun() {
    context_.UseFreshModel(Plugin("mini_gap", {{"width", 4}}), {1, 28, 28, 10});
    context_.UseBuiltin("data", Plugin("shapes"));
    spec_.mutable_data()->set_end(6);
  }

  v1::ExplainReport Run() {
    v1::ExplainReport report;
    const absl::Status status = RunExplain(spec_, context_, report);
    EXPECT_TRUE(status.ok()) << status;
    return report;
  }

  absl::Status Refusal() {
    v1::ExplainReport report;
    return RunExplain(spec_, context_, report);
  }

  void AddOutputs(std::initializer_list<v1::ExplainOutput> outputs) {
    for (const v1::ExplainOutput output : outputs) spec_.add_outputs(output);
  }

  void UseAttack(double epsilon) {
    *spec_.mutable_attack()->mutable_attack() = Plugin("fgsm");
    spec_.mutable_attack()->mutable_threat()->set_norm(v1::LINF);
    spec_.mutable_attack()->mutable_threat()->set_epsilon(epsilon);
  }

  std::vector<std::string> ArtifactNames() const {
    std::vector<std::string> names;
    for (const auto& written : context_.artifacts) names.push_back(written.artifact.name());
    return names;
  }

  const std::string& Bytes(const std::string& role) const {
    return context_.FindArtifact(role)->bytes;
  }

  MemoryRunContext context_;
  v1::ExplainSpec spec_;
};

TEST_F(ExplainRun, DefaultsGiveGradCamMapsTableAndSheet) {
  const v1::ExplainReport report = Run();
  EXPECT_EQ(report.num_samples(), 6);
  EXPECT_EQ(report.num_maps(), 6);
  EXPECT_EQ(report.rows_size(), 6);
  EXPECT_EQ(report.rows(2).sample_id(), 2);
  EXPECT_EQ(report.rows(2).explainer(), "grad_cam");
  EXPECT_EQ(report.rows(2).layer(), "a4");
  EXPECT_EQ(report.rows(2).target_class(), report.rows(2).predicted());
  EXPECT_EQ(report.forwards(), 12);  // one to choose the class, one for the map
  EXPECT_EQ(report.backwards(), 6);
  EXPECT_THAT(ArtifactNames(),
              ::testing::ElementsAre("maps.grad_cam.a4.safetensors", "table.csv", "sheet.png"));
  EXPECT_EQ(context_.progress.back().fraction_ratio(), 1);
  EXPECT_TRUE(DecodeImage(Bytes("sheet")).ok());
}

TEST_F(ExplainRun, TheMapsFileHoldsItsSchema) {
  Run();
  const auto file = ParseSafetensors(FileView::Own(Bytes("maps")));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata.at("schema"), "adamant.maps/1");
  EXPECT_EQ(file->metadata.at("layer"), "a4");
  EXPECT_EQ(file->tensors.at("raw").sizes(), (std::vector<int64_t>{6, 7, 7}));
  EXPECT_EQ(file->tensors.at("sample_id")[5].item<int64_t>(), 5);
  EXPECT_EQ(file->tensors.at("variant").sum().item<int64_t>(), 0);
}

TEST_F(ExplainRun, TheTableHasOneLinePerMap) {
  Run();
  const std::string& table = Bytes("table");
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 7);
  EXPECT_THAT(table, HasSubstr("\n3,3,grad_cam,a4,clean,"));
}

TEST_F(ExplainRun, StatesTheShareOfTheMapInsideTheMask) {
  const v1::ExplainReport report = Run();
  ASSERT_TRUE(report.has_mean_share_in_region());
  double area = 0;
  int64_t counted = 0;
  for (const v1::ExplainRow& row : report.rows()) {
    EXPECT_GT(row.area_in_region(), 0.02);
    EXPECT_LT(row.area_in_region(), 0.5);
    if (row.empty()) continue;
    EXPECT_GE(row.share_in_region(), 0);
    EXPECT_LE(row.share_in_region(), 1);
    area += row.area_in_region();
    ++counted;
  }
  EXPECT_NEAR(report.mean_area_in_region(), area / static_cast<double>(counted), 1e-9);
}

TEST_F(ExplainRun, ChunksAndPositionDoNotChangeAMap) {
  spec_.set_max_batch(1);
  Run();
  const auto single = *ParseSafetensors(FileView::Own(Bytes("maps")));
  const at::Tensor expected = single.tensors.at("raw").slice(0, 3, 6).clone();
  context_.artifacts.clear();
  spec_.set_max_batch(32);
  spec_.mutable_data()->set_begin(3);
  Run();
  const auto whole = *ParseSafetensors(FileView::Own(Bytes("maps")));
  EXPECT_TRUE(torch::allclose(whole.tensors.at("raw"), expected, 1e-5, 1e-6));
}

TEST_F(ExplainRun, APairExplainsTheCleanClassOnBothImages) {
  UseAttack(0.2);
  const v1::ExplainReport report = Run();
  ASSERT_EQ(report.rows_size(), 12);
  for (int i = 0; i < 12; i += 2) {
    EXPECT_EQ(report.rows(i).variant(), "clean");
    EXPECT_EQ(report.rows(i + 1).variant(), "adv");
    EXPECT_EQ(report.rows(i).sample_id(), report.rows(i + 1).sample_id());
    EXPECT_EQ(report.rows(i).target_class(), report.rows(i).predicted());
    EXPECT_EQ(report.rows(i).target_class(), report.rows(i + 1).target_class());
    EXPECT_NE(report.rows(i).score(), report.rows(i + 1).score());
  }
}

TEST_F(ExplainRun, AnAttackWithoutStrengthGivesTheSameMapTwice) {
  UseAttack(0);
  Run();
  const auto file = *ParseSafetensors(FileView::Own(Bytes("maps")));
  const at::Tensor raw = file.tensors.at("raw");
  EXPECT_TRUE(torch::equal(raw.slice(0, 0, 12, 2), raw.slice(0, 1, 12, 2)));
}

TEST_F(ExplainRun, PicturesAreLegibleAndAsManyAsAskedFor) {
  AddOutputs({v1::OVERLAY_PNG, v1::HEATMAP_PNG});
  spec_.set_max_pictures(2);
  UseAttack(0.1);
  Run();
  EXPECT_EQ(context_.artifacts.size(), 8U);  // 2 samples, 2 variants, 2 kinds
  const auto overlay = DecodeImage(Bytes("overlay"));
  ASSERT_TRUE(overlay.ok());
  EXPECT_EQ(overlay->width, 224);
  EXPECT_EQ(overlay->channels, 3);
  EXPECT_THAT(ArtifactNames(), ::testing::Contains("overlay.1.grad_cam.a4.adv.png"));
}

TEST_F(ExplainRun, GivesTheSameBytesAgain) {
  AddOutputs({v1::RAW_MAP, v1::SHEET_PNG, v1::TABLE, v1::OVERLAY_PNG});
  *spec_.add_explainers() = Plugin("cam");
  *spec_.add_explainers() = Plugin("grad_cam");
  Run();
  const auto first = std::move(context_.artifacts);
  context_.artifacts.clear();
  Run();
  ASSERT_EQ(first.size(), context_.artifacts.size());
  for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].bytes, context_.artifacts[i].bytes);
}

TEST_F(ExplainRun, AnInlineImageIsKnownByTheHashOfItsValues) {
  at::Tensor values = torch::rand({1, 28, 28});
  spec_.clear_data();
  v1::InlineImage* image = spec_.add_images();
  image->set_data(values.const_data_ptr(), values.nbytes());
  image->set_name("noise, grey");
  image->mutable_raw_shape()->set_channels(1);
  image->mutable_raw_shape()->set_height(28);
  image->mutable_raw_shape()->set_width(28);
  image->set_label(4);
  const v1::ExplainReport report = Run();
  ASSERT_EQ(report.rows_size(), 1);
  int64_t id = 0;
  std::memcpy(&id, Sha256Of(image->data()).data(), sizeof(id));
  EXPECT_EQ(report.rows(0).sample_id(), id);
  EXPECT_EQ(report.rows(0).label(), 4);
  EXPECT_THAT(Bytes("table"), HasSubstr("\"noise, grey\""));
}

TEST_F(ExplainRun, AnInlineImageOfAnotherSizeIsNamedWithThePolicies) {
  spec_.add_images()->set_data(EncodePng({3, 2, 1, std::vector<uint8_t>(6, 100)}));
  absl::Status status = Refusal();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("images[0]: expected an image of [1,28,28]"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("letterbox"));
  spec_.mutable_preprocess()->set_resize(v1::Preprocess::LETTERBOX);
  EXPECT_EQ(Run().num_maps(), 1);
}

TEST_F(ExplainRun, AnUndecodableImageIsNamed) {
  spec_.add_images()->set_data("not an image");
  spec_.mutable_images(0)->set_name("cat.jpg");
  EXPECT_THAT(std::string(Refusal().message()), HasSubstr("images[0] cat.jpg: IMAGE_INVALID"));
}

TEST_F(ExplainRun, AValueOutsideTheRangeNamesTheSample) {
  const at::Tensor values = torch::full({1, 28, 28}, 1.5);
  v1::InlineImage* image = spec_.add_images();
  image->set_data(values.const_data_ptr(), values.nbytes());
  image->mutable_raw_shape()->set_channels(1);
  image->mutable_raw_shape()->set_height(28);
  image->mutable_raw_shape()->set_width(28);
  EXPECT_THAT(std::string(Refusal().message()), HasSubstr("outside [0,1]"));
}

TEST_F(ExplainRun, StopsBetweenChunks) {
  spec_.set_max_batch(1);
  context_.stop = [&] { return !context_.progress.empty(); };
  v1::ExplainReport report;
  EXPECT_THROW(static_cast<void>(RunExplain(spec_, context_, report)), Stopped);
  EXPECT_EQ(context_.progress.size(), 1U);
}

TEST_F(ExplainRun, WhatIsNotServedIsRefused) {
  AddOutputs({v1::REPORT});
  EXPECT_EQ(Refusal().code(), absl::StatusCode::kUnimplemented);
  spec_.clear_outputs();
  *spec_.add_analyses() = Plugin("gallery");
  EXPECT_EQ(Refusal().code(), absl::StatusCode::kUnimplemented);
}

TEST_F(ExplainRun, BadChoicesAreRefused) {
  spec_.set_target(v1::GIVEN);
  EXPECT_THAT(std::string(Refusal().message()), HasSubstr("needs class_index"));
  spec_.set_class_index(10);
  EXPECT_THAT(std::string(Refusal().message()), HasSubstr("10 is outside [0, 9]"));
  spec_.set_class_index(9);
  spec_.mutable_display()->set_colour_map("rainbow");
  EXPECT_THAT(std::string(Refusal().message()), HasSubstr("viridis"));
  spec_.clear_display();
  *spec_.add_explainers() = Plugin("gradcam");
  EXPECT_THAT(std::string(Refusal().message()), HasSubstr("did you mean \"grad_cam\""));
}

TEST(ExplainPlanOf, AModelWithoutLayersIsRefusedWithAWayOut) {
  ModelInfo torchscript;
  torchscript.format = v1::TORCHSCRIPT;
  torchscript.shape = {1, 28, 28, 10};
  const auto plan = PlanExplain({}, torchscript);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr("no named layers"));
}

// Fresh weights: the pictures prove decoding, resizing and overlay, and explain nothing.
TEST_F(ExplainRun, PhotographsPassThroughDecodingResizingAndOverlay) {
  REQUIRE_TEST_DATA();
  context_.UseFreshModel(Plugin("mini_gap"), {3, 224, 224, 10});
  for (const char* name : {"n03445777_golf_ball", "n02129165_lion", "n01443537_goldfish"}) {
    v1::InlineImage* image = spec_.add_images();
    image->set_name(name);
    image->set_data(
        *ReadFile(absl::StrCat(testing::TestDataFolder(), "/imagenet-samples/", name, ".JPEG")));
  }
  spec_.mutable_preprocess()->set_resize(v1::Preprocess::SHORTER_SIDE_CROP);
  spec_.mutable_preprocess()->set_resize_to(256);
  spec_.mutable_preprocess()->set_convert_channels(true);
  AddOutputs({v1::OVERLAY_PNG, v1::SHEET_PNG});
  EXPECT_EQ(Run().num_maps(), 3);
  const auto overlay = DecodeImage(Bytes("overlay"));
  ASSERT_TRUE(overlay.ok());
  EXPECT_EQ(overlay->height, 224);
}

TEST_F(ExplainRun, RunsOnCuda) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "needs a CUDA device";
  UseAttack(0.1);
  Run();
  const auto cpu = *ParseSafetensors(FileView::Own(Bytes("maps")));
  const at::Tensor expected = cpu.tensors.at("raw").clone();
  context_.artifacts.clear();
  context_.device_name = "cuda:0";
  Run();
  const auto gpu = *ParseSafetensors(FileView::Own(Bytes("maps")));
  // The attacked images differ where a gradient's sign does: compare the clean ones.
  EXPECT_TRUE(torch::allclose(gpu.tensors.at("raw").slice(0, 0, 12, 2), expected.slice(0, 0, 12, 2),
                              1e-3, 1e-5));
}

}  // namespace
}  // namespace adamant
