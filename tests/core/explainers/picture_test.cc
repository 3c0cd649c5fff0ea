// SPDX-License-Identifier: Apache-2.0
#include "core/explainers/picture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/data/preprocess.h"
#include "core/explainers/colour_map.h"
#include "core/explainers/display.h"
#include "tests/core/explainers/toy.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int64_t> Entry(const std::string& name, int64_t index) {
  const at::Tensor colour = ((*ColourTable(name))[index] * 255 + 0.5).floor().to(at::kLong);
  return {colour[0].item<int64_t>(), colour[1].item<int64_t>(), colour[2].item<int64_t>()};
}

TEST(Display, UpsamplesWithHalfPixelCentres) {
  // Four samples at 0.25 pixel steps between two cells: 0, 0.25, 0.75, 1.
  const at::Tensor out = Upsample(torch::tensor({{{0.0F, 1.0F}}}), 1, 4, Upsampling::kBilinear);
  EXPECT_TRUE(torch::allclose(out, torch::tensor({{{0.0F, 0.25F, 0.75F, 1.0F}}}))) << out;
}

TEST(Display, ScalesEachMapByItsOwnRangeHoweverSmall) {
  const at::Tensor maps = torch::tensor({{{1e-12F, 3e-12F}}, {{5.0F, 6.0F}}});
  const at::Tensor display = Normalise(maps, Signedness::kNonNegative);
  EXPECT_TRUE(torch::allclose(display, torch::tensor({{{0.0F, 1.0F}}, {{0.0F, 1.0F}}}))) << display;
}

TEST(Display, SignedMapsKeepZeroInTheMiddle) {
  const at::Tensor display = Normalise(torch::tensor({{{-4.0F, 0.0F, 2.0F}}}), Signedness::kSigned);
  EXPECT_TRUE(torch::equal(display, torch::tensor({{{-1.0F, 0.0F, 0.5F}}}))) << display;
}

TEST(Display, AConstantMapIsAllZeros) {
  for (const float value : {0.0F, 7.0F, -7.0F}) {
    const at::Tensor map = torch::full({1, 2, 2}, value);
    EXPECT_EQ(Normalise(map, Signedness::kNonNegative).abs().max().item<float>(), 0) << value;
    EXPECT_EQ(Normalise(map, Signedness::kSigned).abs().max().item<float>(), 0) << value;
  }
}

TEST(Display, APairSharesOneScale) {
  const at::Tensor pair = torch::tensor({{{{0.0F, 4.0F}}, {{0.0F, 1.0F}}}});
  const at::Tensor display = Normalise(pair, Signedness::kNonNegative);
  EXPECT_EQ(display[0][1].max().item<float>(), 0.25);
}

TEST(Colours, TablesHaveTheirPublishedEntries) {
  EXPECT_THAT(Entry("viridis", 0), ElementsAre(68, 1, 84));
  EXPECT_THAT(Entry("viridis", 128), ElementsAre(33, 145, 140));
  EXPECT_THAT(Entry("viridis", 255), ElementsAre(253, 231, 37));
  EXPECT_THAT(Entry("jet", 0), ElementsAre(0, 0, 128));
  EXPECT_THAT(Entry("jet", 255), ElementsAre(128, 0, 0));
  EXPECT_THAT(Entry("grey", 77), ElementsAre(77, 77, 77));
  EXPECT_THAT(Entry("blue_white_red", 0), ElementsAre(33, 102, 172));
  EXPECT_THAT(Entry("blue_white_red", 255), ElementsAre(178, 24, 43));
  EXPECT_THAT(std::string(ColourTable("virids").status().message()), HasSubstr("\"viridis\""));
}

TEST(Colours, AMapIndexesItsTable) {
  const at::Tensor grey = *ColourTable("grey");
  const at::Tensor colours =
      Colourise(torch::tensor({{0.0F, 0.5F, 1.0F}}), grey, Signedness::kNonNegative);
  EXPECT_TRUE(torch::allclose(colours[0][0] * 255, torch::tensor({0.0F, 128.0F, 255.0F})));
}

TEST(Overlay, MixesByOpacity) {
  const at::Tensor out = Overlay(torch::zeros({3, 1, 1}), torch::ones({3, 1, 1}), 0.25);
  EXPECT_EQ(out.max().item<float>(), 0.25);
}

TEST(Enlarge, RepeatsPixelsAndMakesGreyRgb) {
  const at::Tensor out = Enlarge(torch::tensor({{{0.0F, 1.0F}}}), 2);
  EXPECT_EQ(out.sizes(), (std::vector<int64_t>{3, 2, 4}));
  EXPECT_TRUE(torch::equal(out[2][1], torch::tensor({0.0F, 0.0F, 1.0F, 1.0F})));
}

TEST(Canvas, WritesGlyphsAndCutsOffWhatIsOutside) {
  Canvas canvas(4, 7, {255, 255, 255});
  canvas.Text(0, 0, "1", {0, 0, 0}, 1);  // its middle column is full from the second row on
  for (int64_t row = 0; row < 6; ++row) EXPECT_EQ(canvas.picture().at(row, 2, 0), 0) << row;
  EXPECT_EQ(canvas.picture().at(3, 0, 0), 255);
  canvas.Paste(3, 6, {2, 2, 3, std::vector<uint8_t>(12, 9)});
  EXPECT_EQ(canvas.picture().at(6, 3, 1), 9);
  canvas.Paste(-1, -1, {2, 2, 3, std::vector<uint8_t>(12, 8)});
  EXPECT_EQ(canvas.picture().at(0, 0, 1), 8);
  EXPECT_EQ(canvas.picture().at(0, 1, 1), 255);
}

TEST(SheetPicture, MarksAWrongPredictionByAFrame) {
  Sheet sheet;
  sheet.columns = {"image"};
  Tile tile;
  tile.picture = {64, 64, 3, std::vector<uint8_t>(64 * 64 * 3, 10)};
  sheet.rows = {{"#1", "", {tile}}};
  const auto red = [](const PixelImage& picture) {
    int64_t count = 0;
    for (int64_t y = 0; y < picture.height; ++y) {
      for (int64_t x = 0; x < picture.width; ++x) {
        if (picture.at(y, x, 0) == 204 && picture.at(y, x, 1) == 0) ++count;
      }
    }
    return count;
  };
  EXPECT_EQ(red(DrawSheet(sheet)), 0);
  sheet.rows[0].tiles[0].wrong = true;
  EXPECT_GT(red(DrawSheet(sheet)), 4 * 60 * 2);
}

}  // namespace
}  // namespace adamant
