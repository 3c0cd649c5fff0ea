// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/steps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "core/attacks/apgd_schedule.h"
#include "core/attacks/losses.h"
#include "core/base/rng.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

at::Tensor Pixels(std::vector<float> values) {
  const auto count = static_cast<int64_t>(values.size());
  return at::tensor(values).view({1, 1, 1, count});
}

std::vector<float> Values(const at::Tensor& x) {
  const at::Tensor flat = x.contiguous().flatten();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

TEST(Projection, ClampsToTheLinfBallThenTheBox) {
  const FeasibleSet set(Pixels({0.5F, 0.05F, 0.95F}), {Norm::kLinf, 0.1});
  const std::vector<float> v = Values(set.Project(Pixels({0.9F, -1.0F, 0.97F})));
  EXPECT_FLOAT_EQ(v[0], 0.6F);
  EXPECT_FLOAT_EQ(v[1], 0.0F);
  EXPECT_FLOAT_EQ(v[2], 0.97F);
}

TEST(Projection, ScalesOntoTheL2Ball) {
  const FeasibleSet set(Pixels({0.5F, 0.5F}), {Norm::kL2, 0.1});
  const std::vector<float> v = Values(set.Project(Pixels({0.8F, 0.9F})));  // change (.3, .4)
  EXPECT_FLOAT_EQ(v[0], 0.56F);
  EXPECT_FLOAT_EQ(v[1], 0.58F);
}

TEST(Projection, ShrinksOntoTheL1Ball) {
  const FeasibleSet set(Pixels({0.5F, 0.5F, 0.5F}), {Norm::kL1, 0.3});
  // Changes (.4, -.2, .05): lambda = .15 gives (.25, -.05, 0), whose L1 norm is .3.
  const std::vector<float> v = Values(set.Project(Pixels({0.9F, 0.3F, 0.55F})));
  EXPECT_NEAR(v[0], 0.75, 1e-6);
  EXPECT_NEAR(v[1], 0.45, 1e-6);
  EXPECT_NEAR(v[2], 0.5, 1e-6);
}

TEST(Projection, KeepsTheL0PixelsThatChangedMost) {
  const FeasibleSet set(Pixels({0.5F, 0.5F, 0.5F, 0.5F}), {Norm::kL0, 2});
  const std::vector<float> v = Values(set.Project(Pixels({0.6F, 2.0F, 0.1F, 0.5F})));
  EXPECT_EQ(v, (std::vector<float>{0.5F, 1.0F, 0.1F, 0.5F}));
}

// The multiplier of the Euclidean projection onto L1 ball and box, by trying every breakpoint.
std::vector<double> ExactL1(const std::vector<double>& x, const std::vector<double>& z,
                            double radius) {
  const size_t n = x.size();
  const auto shrunk = [&](double lambda) {
    std::vector<double> v(n);
    for (size_t i = 0; i < n; ++i) {
      const double change = z[i] - x[i];
      const double room = change > 0 ? 1 - x[i] : x[i];
      const double size = std::clamp(std::abs(change) - lambda, 0.0, room);
      v[i] = x[i] + std::copysign(size, change);
    }
    return v;
  };
  const auto norm = [&](const std::vector<double>& v) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += std::abs(v[i] - x[i]);
    return sum;
  };
  if (norm(shrunk(0)) <= radius) return shrunk(0);
  std::vector<double> breaks = {0};
  for (size_t i = 0; i < n; ++i) {
    const double change = z[i] - x[i];
    const double room = change > 0 ? 1 - x[i] : x[i];
    breaks.push_back(std::abs(change));
    breaks.push_back(std::max(0.0, std::abs(change) - room));
  }
  std::sort(breaks.begin(), breaks.end());
  for (size_t i = 0; i + 1 < breaks.size(); ++i) {
    const double high = norm(shrunk(breaks[i]));
    const double low = norm(shrunk(breaks[i + 1]));
    if (high >= radius && low <= radius) {
      const double share = high > low ? (high - radius) / (high - low) : 0;
      return shrunk(breaks[i] + share * (breaks[i + 1] - breaks[i]));
    }
  }
  return x;
}

TEST(Projection, OntoL1AgreesWithTheExactSolution) {
  constexpr int64_t kCases = 10000;
  constexpr int64_t kSize = 8;
  std::vector<float> words(kCases * kSize * 2);
  Rng(3, "l1", 0).Uniform({.purpose = Purpose::kTest}, absl::MakeSpan(words));
  const at::Tensor all = at::tensor(words).view({2, kCases, 1, 1, kSize});
  // Multiples of 1/8 make zeros and equal breakpoints common.
  const at::Tensor x = (all[0] * 8).round().div(8);
  const at::Tensor z = ((all[1] * 4 - 1.5) * 8).round().div(8);
  for (const double radius : {0.0, 0.25, 1.0, 2.3}) {
    const FeasibleSet set(x, {Norm::kL1, radius});
    const at::Tensor v = set.Project(z);
    EXPECT_LE((set.Project(v) - v).abs().max().item<float>(), 1e-6);
    const std::vector<float> xs = Values(x), zs = Values(z), vs = Values(v);
    for (int64_t i = 0; i < kCases; ++i) {
      const auto row = [&](const std::vector<float>& t) {
        return std::vector<double>(t.begin() + i * kSize, t.begin() + (i + 1) * kSize);
      };
      const std::vector<double> expected = ExactL1(row(xs), row(zs), radius);
      for (int64_t j = 0; j < kSize; ++j) {
        ASSERT_NEAR(vs[i * kSize + j], expected[j], 1e-6) << "case " << i << " radius " << radius;
      }
    }
  }
}

TEST(Projection, IsIdempotentInEveryNorm) {
  std::vector<float> words(2 * 300 * 27);
  Rng(4, "idempotent", 0).Uniform({.purpose = Purpose::kTest}, absl::MakeSpan(words));
  const at::Tensor all = at::tensor(words).view({2, 300, 3, 3, 3});
  const std::array<ThreatModel, 4> threats = {
      {{Norm::kLinf, 0.1}, {Norm::kL2, 0.7}, {Norm::kL1, 2.5}, {Norm::kL0, 3}}};
  for (const ThreatModel& threat : threats) {
    const FeasibleSet set(all[0], threat);
    const at::Tensor once = set.Project(all[1] * 3 - 1);
    EXPECT_LE((set.Project(once) - once).abs().max().item<float>(), 1e-6) << NormName(threat.norm);
  }
}

TEST(RandomStart, StaysInsideAndDependsOnIdSeedAndRestart) {
  const at::Tensor x = at::full({2, 1, 4, 4}, 0.5F);
  const at::Tensor ids = at::tensor({7, 8}, at::kLong);
  const std::array<ThreatModel, 4> threats = {
      {{Norm::kLinf, 0.1}, {Norm::kL2, 0.3}, {Norm::kL1, 1.0}, {Norm::kL0, 3}}};
  for (const ThreatModel& threat : threats) {
    const FeasibleSet set(x, threat);
    const at::Tensor start = RandomStart(set, ids, 0, "0:pgd", {.restart = 0});
    EXPECT_TRUE(start.allclose(set.Project(start), 0, 1e-6)) << NormName(threat.norm);
    EXPECT_TRUE(start.equal(RandomStart(set, ids, 0, "0:pgd", {.restart = 0})));
    EXPECT_FALSE(start[0].equal(start[1]));
    EXPECT_FALSE(start.equal(RandomStart(set, ids, 1, "0:pgd", {.restart = 0})));
    EXPECT_FALSE(start.equal(RandomStart(set, ids, 0, "0:pgd", {.restart = 1})));
    const at::Tensor second = RandomStart(set.Select(at::tensor({1}, at::kLong)),
                                          at::tensor({8}, at::kLong), 0, "0:pgd", {});
    EXPECT_TRUE(second[0].equal(start[1]));
  }
}

TEST(SurfaceStart, TouchesTheBall) {
  const at::Tensor x = at::full({3, 1, 4, 4}, 0.5F);
  const at::Tensor ids = at::arange(3, at::kLong);
  const at::Tensor linf = SurfaceStart({x, {Norm::kLinf, 0.1}}, ids, 0, "0:apgd_ce", {}) - x;
  const at::Tensor l2 = SurfaceStart({x, {Norm::kL2, 0.4}}, ids, 0, "0:apgd_ce", {}) - x;
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(linf[i].abs().max().item<float>(), 0.1, 1e-6);
    EXPECT_NEAR(l2[i].norm().item<float>(), 0.4, 1e-6);
  }
}

TEST(StepDirection, HasUnitLengthInItsNorm) {
  const at::Tensor g = Pixels({3, -4, 0, 1});
  EXPECT_EQ(Values(StepDirection(Norm::kLinf, g)), (std::vector<float>{1, -1, 0, 1}));
  const std::vector<float> l2 = Values(StepDirection(Norm::kL2, g / std::sqrt(26.0)));
  EXPECT_NEAR(l2[1], -4 / std::sqrt(26.0), 1e-6);
  EXPECT_EQ(Values(StepDirection(Norm::kL1, g, 0.5)), (std::vector<float>{0.5F, -0.5F, 0, 0}));
  EXPECT_EQ(Values(StepDirection(Norm::kL2, at::zeros_like(g))), (std::vector<float>(4, 0.0F)));
}

TEST(StepSize, FollowsItsRule) {
  const ThreatModel threat{Norm::kLinf, 0.4};
  EXPECT_DOUBLE_EQ(StepSize({"madry"}, threat, 10, 1), 0.1);
  EXPECT_DOUBLE_EQ(StepSize({"eps_div_steps"}, threat, 10, 1), 0.04);
  EXPECT_DOUBLE_EQ(StepSize({"fraction", 0, 0.25}, threat, 10, 1), 0.1);
  EXPECT_DOUBLE_EQ(StepSize({"madry", 0.02}, threat, 10, 0.5), 0.01);
  EXPECT_THROW(StepSize({"fixed"}, threat, 10, 1), std::invalid_argument);
}

TEST(ApgdWindows, EndAtThePublishedCheckpoints) {
  const auto ends = [](int64_t steps) {
    std::vector<int64_t> out;
    int64_t at = 0;
    for (const int64_t length : ApgdWindows(Norm::kLinf, steps)) out.push_back(at += length);
    while (out.size() > 1 && out[out.size() - 1] > steps) out.pop_back();
    return out;
  };
  EXPECT_EQ(ends(100), (std::vector<int64_t>{22, 41, 57, 70, 80, 87, 93, 99}));
  // N = 50: 11, then one shorter each time; the sixth window would end at 51.
  EXPECT_EQ(ends(50), (std::vector<int64_t>{11, 21, 30, 38, 45}));
  EXPECT_EQ(ends(20), (std::vector<int64_t>{4, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}));
  EXPECT_EQ(ends(10), (std::vector<int64_t>{2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

// softplus(logsumexp_{j != y} z_j - z_y)
double CrossEntropy(const std::vector<double>& z, size_t y) {
  double sum = 0;
  for (const double v : z) sum += std::exp(v - z[y]);
  return std::log(sum);
}

// target < 0: untargeted.
double LossOf(const std::string& name, const std::vector<double>& z, int64_t label,
              Numerics numerics = Numerics::kReference, int64_t target = -1) {
  Aims aims{at::tensor({label}, at::kLong)};
  if (target >= 0) aims.targets = at::tensor({target}, at::kLong);
  return MakeLoss(name, target >= 0, numerics)(at::tensor(z).unsqueeze(0), aims).item<double>();
}

TEST(Losses, HaveTheirHandComputedValues) {
  const std::vector<double> z = {1, 4, 2.5, 4, -1};
  EXPECT_DOUBLE_EQ(LossOf("margin", z, 2), 1.5);
  EXPECT_DOUBLE_EQ(LossOf("margin", z, 1), 0);                           // tie with class 3
  EXPECT_DOUBLE_EQ(LossOf("margin", z, 0, Numerics::kStrong, 2), -1.5);  // z_t - max others
  EXPECT_DOUBLE_EQ(LossOf("cw50", z, 2), -48.5);                         // -(50 + 2.5 - 4)
  EXPECT_DOUBLE_EQ(LossOf("cw50", {0, 60}, 0), 0);                       // beyond kappa
  EXPECT_NEAR(LossOf("dlr", z, 2), 1.5 / (4 - 2.5), 1e-11);              // sorted 4, 4, 2.5
  EXPECT_DOUBLE_EQ(LossOf("dlr", {1, 3}, 0), 2);                         // K = 2: margin
  EXPECT_NEAR(LossOf("ce", z, 2), CrossEntropy(z, 2), 1e-12);
  EXPECT_NEAR(LossOf("ce", z, 0, Numerics::kReference, 2), -CrossEntropy(z, 2), 1e-12);
  EXPECT_DOUBLE_EQ(LossOf("logit_diff", z, 0, Numerics::kStrong, 2), 1.5);  // z_t - z_y
  // (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2), K = 3 without z_(4), K = 2 the margin
  EXPECT_NEAR(LossOf("dlr_targeted", z, 0, Numerics::kStrong, 2), 1.5 / (4 - 1.75), 1e-11);
  EXPECT_NEAR(LossOf("dlr_targeted", {1, 4, 2}, 1, Numerics::kStrong, 2), -2.0 / (4 - 1), 1e-11);
  EXPECT_DOUBLE_EQ(LossOf("dlr_targeted", {1, 3}, 1, Numerics::kStrong, 0), -2);
  // strong: the log-odds m, of which cross-entropy is softplus(m).
  EXPECT_NEAR(std::log1p(std::exp(LossOf("ce", z, 2, Numerics::kStrong))), CrossEntropy(z, 2),
              1e-12);
  EXPECT_NEAR(LossOf("prob_margin", {0, std::log(3.0)}, 0), 0.5, 1e-12);  // .75 - .25
  EXPECT_THROW(MakeLoss("dlr", true, Numerics::kStrong), std::invalid_argument);
  EXPECT_THROW(MakeLoss("dlr_targeted", false, Numerics::kStrong), std::invalid_argument);
}

TEST(Losses, HaveTheGradientsOfFiniteDifferences) {
  for (const std::string& name : LossNames()) {
    for (const int64_t classes : {2, 3, 4, 5}) {
      std::vector<double> z = {0.3, -1.2, 2.0, 0.9, -0.4};
      z.resize(classes);
      const at::Tensor logits = at::tensor(z).unsqueeze(0).requires_grad_(true);
      const int64_t target = name == "dlr_targeted" ? 0 : -1;
      Aims aims{at::tensor({1}, at::kLong)};
      if (target >= 0) aims.targets = at::tensor({target}, at::kLong);
      const LossFunction loss = MakeLoss(name, target >= 0, Numerics::kStrong);
      const at::Tensor gradient = torch::autograd::grad({loss(logits, aims).sum()}, {logits})[0];
      for (int64_t k = 0; k < classes; ++k) {
        std::vector<double> high = z, low = z;
        high[k] += 1e-6;
        low[k] -= 1e-6;
        const double slope = (LossOf(name, high, 1, Numerics::kStrong, target) -
                              LossOf(name, low, 1, Numerics::kStrong, target)) /
                             2e-6;
        EXPECT_NEAR(gradient[0][k].item<double>(), slope, 1e-5) << name << " K " << classes;
      }
    }
  }
}

TEST(Losses, DoNotUnderflowWhenStrong) {
  const at::Tensor logits = at::tensor({40.0F, 0.0F}).unsqueeze(0).requires_grad_(true);
  const Aims label{at::tensor({0}, at::kLong)};
  const auto gradient = [&](Numerics numerics) {
    return torch::autograd::grad({MakeLoss("ce", false, numerics)(logits, label).sum()},
                                 {logits})[0]
        .abs()
        .max()
        .item<float>();
  };
  EXPECT_LT(gradient(Numerics::kReference), 1e-16F);
  EXPECT_EQ(gradient(Numerics::kStrong), 1.0F);
}

TEST(RankedClasses, BreaksTiesByTheLowerIndex) {
  const at::Tensor ranked = RankedClasses(at::tensor({1.0F, 3.0F, 3.0F, 2.0F}).unsqueeze(0));
  EXPECT_TRUE(ranked.equal(at::tensor({1, 2, 3, 0}, at::kLong).unsqueeze(0)));
}

}  // namespace
}  // namespace adamant
