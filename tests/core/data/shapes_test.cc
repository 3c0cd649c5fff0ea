// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "common/sha256.h"
#include "core/base/torch.h"
#include "core/data/dataset.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Dataset> MakeShapes(const std::string& variant, int train = 6000) {
  v1::PluginSpec spec;
  spec.set_name("shapes");
  auto& fields = *spec.mutable_params()->mutable_fields();
  fields["variant"].set_string_value(variant);
  fields["train"].set_number_value(train);
  auto made = MakePlugin<Dataset>(spec, DataFiles{});
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

std::string BytesHash(const at::Tensor& bytes) {
  const at::Tensor values = bytes.contiguous();
  return Sha256Hex({static_cast<const char*>(values.const_data_ptr()), values.nbytes()});
}

// The constants of models_and_datasets.md 5: seed 0, the first 1000 samples.
struct Golden {
  const char* variant;
  const char* split;
  const char* images;
  const char* masks;
  double mean;
  std::vector<std::vector<int64_t>> boxes;
  std::vector<int64_t> bytes;
};

const Golden kGolden[] = {
    {"glyph28",
     "train",
     "7b619c27738e126368154de6eac2d8394a74848a433633637d33179c2de56eac",
     "badd3bb96358d36af4912a6bec35f2c896749c7753b9fb6e68729fe8f582f67f",
     .223568,
     {{13, 13, 27, 23}, {2, 9, 23, 24}, {4, 2, 18, 12}},
     {40, 76, 12, 49, 77, 51}},
    {"glyph28",
     "test",
     "14fa3fc66422db3eef7ed4620e08d8ba1fc6122f2078eb8c118ffa850367d49c",
     "80546b9cd27cbea23751c2ab4237297aef43b09ff285ad10fffa18f851e6eb7e",
     .223213,
     {{13, 8, 27, 18}, {13, 18, 27, 28}, {7, 5, 21, 15}},
     {36, 32, 38, 77, 67, 81}},
    {"geo32",
     "train",
     "8e397cf05aa31d36bb38143053bf85bcf498b302f95d4a7028e0b8b8eee57255",
     "8453b55560f372db160b5fb6f64760bc13ca058d9645d5ddc7068dcf8fcc927b",
     .298469,
     {{15, 13, 30, 28}, {6, 10, 23, 27}, {6, 2, 19, 15}},
     {62, 78, 54, 69, 81, 71}},
    {"geo32",
     "test",
     "70768dd1433c54377956ab93d87bc22ce975cddd13bac3684839f1afc6ff5cf2",
     "0cb798230407f3a5e87ef9d2284724cb2c98364860d6501fc0fe78eeda452c76",
     .301100,
     {{14, 7, 31, 24}, {16, 17, 29, 30}, {10, 6, 23, 19}},
     {2, 1, 5, 21, 18, 24}},
};

TEST(Shapes, DrawsTheSameBytesOnEveryMachine) {
  std::vector<int64_t> ids(1000);
  std::iota(ids.begin(), ids.end(), 0);
  for (const Golden& golden : kGolden) {
    SCOPED_TRACE(std::string(golden.variant) + " " + golden.split);
    const auto shapes = MakeShapes(golden.variant);
    const auto batch = shapes->Read(golden.split, ids);
    ASSERT_TRUE(batch.ok()) << batch.status();
    const at::Tensor bytes = batch->images.mul(255).round().to(at::kByte);
    EXPECT_EQ(BytesHash(bytes), golden.images);
    EXPECT_EQ(BytesHash(shapes->Masks(golden.split, ids)->to(at::kByte)), golden.masks);
    // The published means are off by up to 1e-6; the hashes above are the exact check.
    EXPECT_NEAR(batch->images.to(at::kDouble).mean().item<double>(), golden.mean, 2e-6);
    const auto boxes = *shapes->Boxes(golden.split, ids);
    for (size_t i = 0; i < golden.boxes.size(); ++i) {
      EXPECT_THAT(golden.boxes[i], ::testing::ElementsAre(boxes[i].top, boxes[i].left,
                                                          boxes[i].bottom, boxes[i].right));
    }
    for (size_t i = 0; i < golden.bytes.size(); ++i) {
      EXPECT_EQ(bytes.flatten()[static_cast<int64_t>(i)].item<int64_t>(), golden.bytes[i]);
    }
  }
}

TEST(Shapes, LabelIsTheIdModuloTen) {
  const auto batch = MakeShapes("glyph28")->Read("test", {7, 12, 999});
  ASSERT_TRUE(batch.ok());
  EXPECT_TRUE(batch->labels.equal(torch::tensor({7, 2, 9}, at::kLong)));
  EXPECT_TRUE(batch->ids.equal(torch::tensor({7, 12, 999}, at::kLong)));
}

TEST(Shapes, ASampleDoesNotDependOnTheSizeOfItsSplit) {
  const auto small = MakeShapes("geo32", 10)->Read("train", {3});
  const auto large = MakeShapes("geo32", 1000)->Read("train", {3});
  ASSERT_TRUE(small.ok() && large.ok());
  EXPECT_TRUE(small->images.equal(large->images));
}

TEST(Shapes, RefusesFilesAndUnknownSplits) {
  v1::PluginSpec spec;
  spec.set_name("shapes");
  const auto with_file = MakePlugin<Dataset>(spec, DataFiles{{"a", FileView::Own("x")}});
  EXPECT_EQ(with_file.status().code(), absl::StatusCode::kInvalidArgument);
  const auto split = MakeShapes("glyph28")->SplitSize("validation");
  EXPECT_EQ(split.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(split.status().message()), HasSubstr("train, test"));
}

TEST(SelectIds, TakesARangeOrAList) {
  v1::DataSource source;
  EXPECT_EQ(SelectIds(source, 3)->size(), 3u);
  source.set_begin(1);
  EXPECT_THAT(*SelectIds(source, 3), ::testing::ElementsAre(1, 2));
  source.set_end(2);
  EXPECT_THAT(*SelectIds(source, 3), ::testing::ElementsAre(1));
  source.clear_begin();
  source.clear_end();
  source.add_sample_ids(2);
  source.add_sample_ids(0);
  EXPECT_THAT(*SelectIds(source, 3), ::testing::ElementsAre(2, 0));
}

TEST(SelectIds, RefusesIdsOutsideTheSplit) {
  v1::DataSource range;
  range.set_end(4);
  EXPECT_THAT(std::string(SelectIds(range, 3).status().message()), HasSubstr("0 to 4"));
  v1::DataSource list;
  list.add_sample_ids(3);
  EXPECT_THAT(std::string(SelectIds(list, 3).status().message()), HasSubstr("sample id 3"));
  list.set_end(2);
  EXPECT_THAT(std::string(SelectIds(list, 3).status().message()), HasSubstr("not both"));
}

}  // namespace
}  // namespace adamant
