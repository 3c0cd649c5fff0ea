// SPDX-License-Identifier: Apache-2.0
#include "core/base/rng.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace adamant {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

// Known answers of the Random123 distribution (attacks.md 1.11).
TEST(Philox, MatchesThePublishedTestVectors) {
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(Philox({ones, ones, ones, ones}, {ones, ones}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, DerivesItsKeyFromSeedStreamAndSample) {
  const Rng rng(7, "0:pgd", 42);
  EXPECT_EQ(rng.key(), (PhiloxKey{0xf33b9a2d, 0x489249f7}));
  EXPECT_EQ(Philox({0, 0, 0, 0}, rng.key()),
            (PhiloxCounter{0x34aa7d53, 0xc51609be, 0xcba92e1b, 0x929142c9}));
}

TEST(Rng, PutsThePlaceIntoTheCounter) {
  const Rng rng(7, "0:pgd", 42);
  std::vector<uint32_t> words(8);
  rng.Words({.step = 3, .restart = 2, .target_slot = 5, .purpose = Purpose::kNoise, .draw = 9},
            absl::MakeSpan(words));
  const PhiloxCounter second = Philox({1, 3, 2u << 16 | 5, 3u << 16 | 9}, rng.key());
  EXPECT_THAT(std::vector<uint32_t>(words.begin() + 4, words.end()),
              ElementsAre(second[0], second[1], second[2], second[3]));
}

TEST(Rng, ReadsNumbersFromWordsAsDocumented) {
  const Rng rng(1, "test", 0);
  const DrawAt at{.purpose = Purpose::kTest};
  std::vector<uint32_t> words(6);
  std::vector<float> uniform(6), open(6), signs(6);
  rng.Words(at, absl::MakeSpan(words));
  rng.Uniform(at, absl::MakeSpan(uniform));
  rng.UniformOpen(at, absl::MakeSpan(open));
  rng.Signs(at, absl::MakeSpan(signs));
  for (size_t i = 0; i < words.size(); ++i) {
    EXPECT_EQ(uniform[i], static_cast<float>(words[i] / 256) / 16777216.0f);
    EXPECT_GT(open[i], 0.0f);
    EXPECT_EQ(signs[i], words[i] >= 0x80000000u ? -1.0f : 1.0f);
  }
  EXPECT_EQ(rng.Below(at, 10), static_cast<uint32_t>(words[0] / 429496729.6));
}

TEST(Rng, NormalsAreBoxMullerOfWordPairs) {
  const Rng rng(1, "test", 0);
  const DrawAt at{.step = 4, .purpose = Purpose::kTest};
  std::vector<uint32_t> w(4);
  std::vector<float> normals(4);
  rng.Words(at, absl::MakeSpan(w));
  rng.Normal(at, absl::MakeSpan(normals));
  const auto unit = [](uint32_t word) {
    return static_cast<double>(word >> 8) / 16777216 + 1.0 / 33554432;
  };
  const double radius = std::sqrt(-2 * std::log(unit(w[2])));
  const double angle = 2 * std::acos(-1.0) * unit(w[3]);
  EXPECT_FLOAT_EQ(normals[2], static_cast<float>(radius * std::cos(angle)));
  EXPECT_FLOAT_EQ(normals[3], static_cast<float>(radius * std::sin(angle)));
}

// 40 000 draws: the standard errors are 0.005 for the mean and 0.007 for the variance.
TEST(Rng, NormalsHaveMeanZeroAndVarianceOne) {
  std::vector<float> values(40000);
  Rng(3, "test", 1).Normal({}, absl::MakeSpan(values));
  double sum = 0, squares = 0;
  for (float v : values) {
    sum += v;
    squares += double{v} * v;
  }
  EXPECT_NEAR(sum / 40000, 0, 0.025);
  EXPECT_NEAR(squares / 40000, 1, 0.035);
}

TEST(Rng, PermutationHoldsEveryIndexOnceAndDependsOnThePlace) {
  std::vector<int64_t> first(100), again(100), other(100);
  const Rng rng(5, "order:0", 0);
  rng.Permutation({}, absl::MakeSpan(first));
  rng.Permutation({}, absl::MakeSpan(again));
  rng.Permutation({.step = 1}, absl::MakeSpan(other));
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
  std::sort(first.begin(), first.end());
  for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(first[i], i);
}

// Each of the 6 orders of 3 things is expected 1000 times; the standard deviation is 29.
TEST(Rng, PermutationsAreUniform) {
  std::map<std::vector<int64_t>, int> seen;
  const Rng rng(5, "order:0", 0);
  for (uint32_t step = 0; step < 6000; ++step) {
    std::vector<int64_t> order(3);
    rng.Permutation({.step = step}, absl::MakeSpan(order));
    ++seen[order];
  }
  ASSERT_EQ(seen.size(), 6u);
  for (const auto& [order, count] : seen) EXPECT_NEAR(count, 1000, 150);
}

}  // namespace
}  // namespace adamant
