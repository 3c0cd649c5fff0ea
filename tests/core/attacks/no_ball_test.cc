// SPDX-License-Identifier: Apache-2.0
// Attacks without a norm.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/attacks/attack.h"
#include "core/attacks/corruption_pixels.h"
#include "core/attacks/losses.h"
#include "core/attacks/warp_pixels.h"
#include "core/base/torch.h"
#include "tests/support/torch/attacks.h"
#include "tests/support/torch/toy_models.h"

namespace adamant {
namespace {

using testing::MakeAttack;
using testing::ParamValues;
using testing::ToyBatch;
using testing::ToyPointer;
using Image = std::vector<float>;

AttackResult Craft(const Attack& attack, Model& model, const Batch& batch) {
  Victim victim(model, BatchNormMode::kEval, 16);
  return attack.Run(victim, batch, {}, {.stream = "0:test"}, {});
}

// Accepts what is misclassified and inside the box.
class BoxJudge final : public Judge {
 public:
  BoxJudge(Model& model, at::Tensor labels) : model_(model), labels_(std::move(labels)) {}
  at::Tensor Submit(const Claims& claims) override {
    const at::Tensor inside =
        (claims.images >= 0).logical_and(claims.images <= 1).flatten(1).all(1);
    const at::Tensor wrong =
        Predictions(model_.Logits(claims.images)) != labels_.index_select(0, claims.rows);
    EXPECT_TRUE(inside.all().item<bool>());
    accepted += wrong.sum().item<int64_t>();
    return inside.logical_and(wrong);
  }
  int64_t accepted = 0;

 private:
  Model& model_;
  at::Tensor labels_;
};

const PlaneShape kThree{1, 3, 3};
const Image kDigits = {.1F, .2F, .3F, .4F, .5F, .6F, .7F, .8F, .9F};

TEST(MovePixels, TurnsByNinetyDegreesAndShiftsWithZeros) {
  Image out(9);
  MovePixels(kThree, {.degrees = 90}, kDigits.data(), out.data());
  // Place (i, j) around the centre shows what was at (j, -i).
  const Image turned = {.3F, .6F, .9F, .2F, .5F, .8F, .1F, .4F, .7F};
  for (size_t i = 0; i < 9; ++i) EXPECT_NEAR(out[i], turned[i], 1e-6) << i;
  MovePixels(kThree, {.down = 1, .right = 0.5}, kDigits.data(), out.data());
  const Image shifted = {0, 0, 0, .05F, .15F, .25F, .2F, .45F, .55F};
  for (size_t i = 0; i < 9; ++i) EXPECT_NEAR(out[i], shifted[i], 1e-6) << i;
}

TEST(BlurPlane, KeepsAFlatImageAndSpreadsAPointByTheGaussian) {
  Image flat(35, 0.25F);
  BlurPlane(5, 7, 1.5, 4, /*mirror=*/true, flat.data());
  for (const float v : flat) EXPECT_NEAR(v, 0.25, 1e-6);
  Image point(81, 0);
  point[40] = 1;
  BlurPlane(9, 9, 0.5, 4, /*mirror=*/false, point.data());
  // Weights 1, e^-2, e^-8 in each direction: 1 / (1 + 2 e^-2 + 2 e^-8) = 0.78651 at the centre.
  const double centre = 1 / (1 + 2 * std::exp(-2.0) + 2 * std::exp(-8.0));
  EXPECT_NEAR(point[40], centre * centre, 1e-6);
  EXPECT_NEAR(point[41], centre * centre * std::exp(-2.0), 1e-6);
  EXPECT_NEAR(point[50], centre * centre * std::exp(-4.0), 1e-6) << "diagonal";
}

Image Corrupted(const std::string& type, int64_t severity, const PlaneShape& shape, Image image) {
  Corrupt(type, severity, shape, Rng(0, "0:corruption", 7), image.data());
  return image;
}

TEST(Corruption, HasTheConstantsOfTheTable) {
  const PlaneShape rgb{3, 1, 1};
  // Contrast of one pixel is its mean; brightness raises the largest channel by .15 at severity 3.
  EXPECT_NEAR(Corrupted("contrast", 5, rgb, {.2F, .4F, .6F})[0], .2, 1e-6);
  const Image bright = Corrupted("brightness", 3, rgb, {.2F, .4F, .6F});
  EXPECT_NEAR(bright[2], .75, 1e-6);
  EXPECT_NEAR(bright[0], .25, 1e-6);
  EXPECT_NEAR(Corrupted("brightness", 3, {1, 1, 1}, {0})[0], .15, 1e-6);
  // S = (.6 - .2) / .6 = 2/3; severity 2 makes it .1 of that: .6 - .4 * .1, .6 - .2 * .1.
  const Image grey = Corrupted("saturate", 2, rgb, {.2F, .4F, .6F});
  EXPECT_NEAR(grey[0], .56, 1e-6);
  EXPECT_NEAR(grey[1], .58, 1e-6);
  EXPECT_NEAR(grey[2], .6, 1e-6);
  // Mean .5, factor .75.
  EXPECT_NEAR(Corrupted("contrast", 1, {1, 1, 2}, {.1F, .9F})[0], .2, 1e-6);
}

TEST(Corruption, NoiseHasItsMoments) {
  const PlaneShape shape{3, 64, 64};
  const Image middle(3 * 64 * 64, 0.5F);
  const auto deviation = [&](const std::string& type, int64_t severity) {
    double sum = 0;
    double squares = 0;
    for (const float v : Corrupted(type, severity, shape, middle)) {
      sum += v - 0.5;
      squares += (v - 0.5) * (v - 0.5);
    }
    const auto n = static_cast<double>(middle.size());
    EXPECT_NEAR(sum / n, 0, 0.005) << type;
    return std::sqrt(squares / n);
  };
  EXPECT_NEAR(deviation("gaussian_noise", 5), 0.10, 0.002);
  EXPECT_NEAR(deviation("speckle_noise", 5), 0.10, 0.002);
  EXPECT_NEAR(deviation("shot_noise", 3), std::sqrt(0.5 / 100), 0.002);
  EXPECT_NEAR(deviation("shot_noise", 1), std::sqrt(0.5 / 500), 0.001);
  // A share .07 becomes 0 or 1, each .5 away.
  EXPECT_NEAR(deviation("impulse_noise", 5), 0.5 * std::sqrt(0.07), 0.01);
}

TEST(Corruption, BlursAndGeometryKeepAFlatImage) {
  for (const char* type : {"gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur", "elastic",
                           "pixelate", "contrast"}) {
    for (const PlaneShape& shape : {PlaneShape{3, 32, 32}, PlaneShape{1, 28, 20},
                                    PlaneShape{1, 80, 70}, PlaneShape{2, 1, 1}}) {
      for (const int64_t severity : {1, 5}) {
        const Image flat(static_cast<size_t>(shape.size()), 0.4F);
        // The published disk of radius 10 is softened with mirrored borders, which adds 1 %.
        const bool brighter =
            std::string(type) == "defocus_blur" && shape.height > 64 && severity == 5;
        for (const float v : Corrupted(type, severity, shape, flat)) {
          EXPECT_NEAR(v, 0.4, brighter ? 0.005 : 1e-5) << type;
        }
      }
    }
  }
}

TEST(Corruption, EveryTypeChangesMoreAtHigherSeverity) {
  const PlaneShape shape{3, 32, 32};
  Image image(static_cast<size_t>(shape.size()));
  Rng(0, "image", 0).Uniform({}, absl::MakeSpan(image));
  BlurPlane(96, 32, 1.5, 4, true, image.data());
  for (float& v : image) v = 0.5F + 2 * (v - 0.5F);
  for (const std::string& type : CorruptionTypes()) {
    const auto change = [&](int64_t severity) {
      const Image out = Corrupted(type, severity, shape, image);
      double sum = 0;
      for (size_t i = 0; i < out.size(); ++i) {
        EXPECT_GE(out[i], 0);
        EXPECT_LE(out[i], 1);
        sum += std::abs(out[i] - image[i]);
      }
      return sum;
    };
    EXPECT_GT(change(1), 0) << type;
    // By the table, saturate weakens colours first and strengthens them later; elastic trades a
    // wide bend for a strong one.
    if (type == "saturate" || type == "elastic") continue;
    EXPECT_GT(change(5), change(1)) << type;
  }
  EXPECT_THROW(Corrupted("snow", 1, shape, image), std::invalid_argument);
}

TEST(Corruption, ZoomBlurIsTheMeanOfTheTablesEnlargements) {
  // A ramp of 60 pixels at severity 1: itself and enlargements by 1.00 to 1.06. These keep 60, 60,
  // 59, 59, 58, 58, 57 pixels from 0, 0, 0, 0, 1, 1, 1 on and stretch them over 60, 61, 60, 61, 60,
  // 61, 60, of which they show the first 60.
  Image ramp;
  for (int i = 0; i < 60; ++i) ramp.push_back(static_cast<float>(i) / 100);
  const Image out = Corrupted("zoom_blur", 1, {1, 1, 60}, ramp);
  EXPECT_NEAR(out[0], 0.01 * (1 + 1 + 1) / 8, 1e-6);
  const double last =
      59 + 59 + 59.0 * 59 / 60 + 58 + 58.0 * 59 / 60 + 58 + (1 + 57.0 * 59 / 60) + 57;
  EXPECT_NEAR(out[59], 0.01 * last / 8, 1e-6);
}

TEST(Corruption, PlasmaSpansZeroToOne) {
  const std::vector<double> plasma = PlasmaFractal(32, 2, Rng(0, "0:corruption", 1));
  EXPECT_EQ(*std::min_element(plasma.begin(), plasma.end()), 0);
  EXPECT_EQ(*std::max_element(plasma.begin(), plasma.end()), 1);
}

TEST(NoBall, StaysInTheBoxAndChangesTheImage) {
  const ToyPointer model = testing::ToyConst({1, 8, 8, 3});
  const Batch batch = ToyBatch(*model, 3);
  const std::map<std::string, ParamValues> attacks = {{"spatial", {{"mode", "worst_of_k"}}},
                                                      {"corruption", {}},
                                                      {"patch", {{"steps", 3.0}, {"eot", 2.0}}}};
  for (const auto& [name, params] : attacks) {
    const AttackResult out = Craft(*MakeAttack(name, params), *model, batch);
    EXPECT_GE(out.images.min().item<float>(), 0) << name;
    EXPECT_LE(out.images.max().item<float>(), 1) << name;
    EXPECT_FALSE(out.images.equal(batch.images)) << name;
  }
}

TEST(NoBall, FindsTheWeakestBrightness) {
  // Class 1 wins where the mean of the four pixels exceeds 0.7; the image is 0.5 everywhere.
  const at::Tensor weight = at::tensor({0., 0., 0., 0., .25, .25, .25, .25}, at::kDouble);
  const ToyPointer model =
      testing::ToyLinear({1, 2, 2, 2}, weight.view({2, 4}), at::tensor({0.7, 0.0}, at::kDouble));
  Batch batch = ToyBatch(*model, 2);
  batch.images = at::full_like(batch.images, 0.5);
  batch.labels = at::zeros({2}, at::kLong);
  // Strengths are hundredths: 0.21 is the first above 0.2.
  const AttackResult out = Craft(*MakeAttack("brightness_contrast"), *model, batch);
  EXPECT_TRUE(at::allclose(out.images, at::full_like(batch.images, 0.71), 0, 1e-6));
}

TEST(NoBall, ClaimsImagesOfTheBoxThatAJudgeAccepts) {
  const ToyPointer model = testing::ToyMlp({1, 8, 8, 5});
  const Batch batch = ToyBatch(*model, 20);
  const std::map<std::string, ParamValues> attacks = {
      {"spatial", {}},
      {"brightness_contrast", {}},
      {"gaussian_blur", {}},
      {"corruption", {{"type", "contrast"}, {"severity", 5.0}}},
      {"patch", {{"share", 0.5}, {"steps", 10.0}, {"eot", 2.0}}}};
  for (const auto& [name, params] : attacks) {
    BoxJudge judge(*model, batch.labels);
    Victim victim(*model, BatchNormMode::kEval, 16);
    const AttackResult out =
        MakeAttack(name, params)->Run(victim, batch, {}, {.stream = "0:test", .judge = &judge}, {});
    const at::Tensor wrong = Predictions(model->Logits(out.images)) != batch.labels;
    EXPECT_GT(wrong.sum().item<int64_t>(), 0) << name;
    EXPECT_EQ(wrong.sum().item<int64_t>(), judge.accepted) << name;
  }
}

TEST(Patch, ChangesOneSquareOnly) {
  const ToyPointer model = testing::ToyMlp({2, 8, 6, 5});
  const Batch batch = ToyBatch(*model, 5);
  // 0.2 of 48 pixels is 9.6: a side of 3.
  const AttackResult out =
      Craft(*MakeAttack("patch", {{"share", 0.2}, {"steps", 4.0}, {"eot", 2.0}}), *model, batch);
  const at::Tensor changed = (out.images != batch.images).any(1);
  EXPECT_TRUE((changed.any(1).sum(1) <= 3).all().item<bool>());
  EXPECT_TRUE((changed.any(2).sum(1) <= 3).all().item<bool>());
  EXPECT_GT(changed.sum().item<int64_t>(), 0);
}

}  // namespace
}  // namespace adamant
