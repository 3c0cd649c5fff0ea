// SPDX-License-Identifier: Apache-2.0
#include "core/data/preprocess.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/torch.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

v1::Preprocess How(v1::Preprocess::Resize resize) {
  v1::Preprocess how;
  how.set_resize(resize);
  return how;
}

TEST(Preprocess, ExactRefusesAnotherSizeAndNamesThePolicies) {
  const auto refused = Preprocess(torch::zeros({1, 4, 5}), How(v1::Preprocess::EXACT), 1, 4, 4);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("stretch, shorter_side_crop, letterbox"));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("[1,4,4], got [1,4,5]"));
}

TEST(Preprocess, StretchToOnePixelIsTheMean) {
  const at::Tensor image = torch::tensor({0.0F, 0.2F, 0.4F, 0.8F}).view({1, 2, 2});
  const auto out = Preprocess(image, How(v1::Preprocess::STRETCH), 1, 1, 1);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_NEAR(out->item<float>(), 0.35, 1e-6);
}

TEST(Preprocess, LetterboxCentresAndPads) {
  v1::Preprocess how = How(v1::Preprocess::LETTERBOX);
  how.set_pad_value(0.25);
  const auto out = Preprocess(torch::ones({1, 2, 4}), how, 1, 4, 4);
  ASSERT_TRUE(out.ok()) << out.status();
  const at::Tensor expected = torch::full({1, 4, 4}, 0.25);
  expected.narrow(1, 1, 2).fill_(1);
  EXPECT_TRUE(torch::equal(*out, expected)) << *out;
}

TEST(Preprocess, ShorterSideCropTakesTheCentre) {
  // Already 2 rows: columns 1 and 2 of 4 remain.
  const at::Tensor image = torch::arange(8).view({1, 2, 4}) / 10.0;
  const auto out = Preprocess(image, How(v1::Preprocess::SHORTER_SIDE_CROP), 1, 2, 2);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_TRUE(torch::equal(*out, image.narrow(2, 1, 2)));
}

TEST(Preprocess, ResizeToBelowTheModelsInputIsRefused) {
  v1::Preprocess how = How(v1::Preprocess::SHORTER_SIDE_CROP);
  how.set_resize_to(3);
  const auto refused = Preprocess(torch::zeros({1, 8, 8}), how, 1, 4, 4);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("resize_to: 3"));
}

TEST(Preprocess, AThinImageCannotBlowUpMemory) {
  const auto refused =
      Preprocess(torch::zeros({1, 1, 8192}), How(v1::Preprocess::SHORTER_SIDE_CROP), 1, 224, 224);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("IMAGE_TOO_LARGE"));
}

TEST(Preprocess, ChannelsAreConvertedOnRequestOnly) {
  const at::Tensor colour = torch::tensor({1.0F, 0.5F, 0.0F}).view({3, 1, 1});
  v1::Preprocess how;
  const auto refused = Preprocess(colour, how, 1, 1, 1);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("convert_channels"));
  how.set_convert_channels(true);
  EXPECT_NEAR(Preprocess(colour, how, 1, 1, 1)->item<float>(), 0.299 + 0.5 * 0.587, 1e-6);
  const at::Tensor grey = torch::full({1, 1, 1}, 0.5);
  EXPECT_TRUE(torch::equal(*Preprocess(grey, how, 3, 1, 1), torch::full({3, 1, 1}, 0.5)));
}

TEST(Pixels, RoundTripThroughATensor) {
  const PixelImage image{2, 1, 3, {0, 1, 2, 127, 128, 255}};
  const at::Tensor tensor = ToTensor(image);
  EXPECT_EQ(tensor.sizes(), (std::vector<int64_t>{3, 1, 2}));
  EXPECT_NEAR(tensor[2][0][0].item<float>(), 2 / 255.0, 1e-7);
  EXPECT_EQ(ToPixels(tensor).pixels, image.pixels);
}

}  // namespace
}  // namespace adamant
