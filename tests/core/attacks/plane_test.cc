// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/plane.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/base/rng.h"
#include "core/base/torch.h"

namespace adamant {
namespace {

// Room and weight of each coordinate, and what the change has to gain: sum weight_i |d_i| = need.
struct Problem {
  std::vector<double> weight, room;
  double need = 0;

  double Reach() const {
    double sum = 0;
    for (size_t i = 0; i < weight.size(); ++i) sum += weight[i] * room[i];
    return sum;
  }
};

Problem ProblemOf(const std::vector<float>& point, const std::vector<float>& normal,
                  double excess) {
  Problem out;
  for (size_t i = 0; i < point.size(); ++i) {
    const bool up = (excess >= 0) == (normal[i] < 0);
    out.weight.push_back(std::abs(static_cast<double>(normal[i])));
    out.room.push_back(normal[i] == 0 ? 0 : up ? 1.0 - point[i] : point[i]);
  }
  out.need = std::abs(excess);
  return out;
}

double SizeOf(Norm norm, const std::vector<double>& change) {
  double largest = 0, sum = 0, squares = 0;
  for (const double d : change) {
    largest = std::max(largest, std::abs(d));
    sum += std::abs(d);
    squares += d * d;
  }
  return norm == Norm::kLinf ? largest : norm == Norm::kL2 ? std::sqrt(squares) : sum;
}

// Where the coordinates of `full` are at their bounds and the others follow the norm's rule; `one`:
// the coordinate that takes the rest in L1. Empty when that is outside the box.
std::vector<double> Candidate(Norm norm, const Problem& problem, unsigned full, size_t one) {
  const size_t n = problem.weight.size();
  double need = problem.need, slope = 0;
  for (size_t i = 0; i < n; ++i) {
    const double w = problem.weight[i];
    if ((full >> i & 1U) != 0) {
      need -= w * problem.room[i];
    } else if (norm != Norm::kL1 || i == one) {
      slope += norm == Norm::kL2 ? w * w : w;
    }
  }
  const double lambda = slope > 0 ? need / slope : 0;
  if (lambda < 0 || (slope == 0 && std::abs(need) > 1e-12)) return {};
  std::vector<double> out(n);
  for (size_t i = 0; i < n; ++i) {
    const double w = problem.weight[i];
    const double pull = norm == Norm::kL2 ? w : norm == Norm::kL1 ? (i == one) : (w > 0);
    out[i] = (full >> i & 1U) != 0 ? problem.room[i] : lambda * pull;
    if (out[i] > problem.room[i] + 1e-12) return {};
  }
  return out;
}

// The smallest change over every set of coordinates at their bounds.
double SmallestSize(Norm norm, const Problem& problem) {
  const size_t n = problem.weight.size();
  double best = std::numeric_limits<double>::infinity();
  for (unsigned full = 0; full < 1U << n; ++full) {
    for (size_t one = 0; one < (norm == Norm::kL1 ? n : 1); ++one) {
      const std::vector<double> change = Candidate(norm, problem, full, one);
      if (!change.empty()) best = std::min(best, SizeOf(norm, change));
    }
  }
  return best;
}

// A point, a normal and an excess with zeros, equal values and points at the bounds among them.
struct Draw {
  std::vector<float> point, normal;
  double excess = 0;
};

Draw RandomCase(int64_t id, size_t size) {
  std::vector<float> words(2 * size + 2);
  Rng(5, "plane", id).Uniform({.purpose = Purpose::kTest}, absl::MakeSpan(words));
  Draw out;
  const bool coarse = words[2 * size] < 0.5F;  // few distinct values: equal breakpoints
  for (size_t i = 0; i < size; ++i) {
    const float p = words[2 * i], w = 4 * words[2 * i + 1] - 2;
    out.point.push_back(coarse ? std::round(4 * p) / 4 : p);
    out.normal.push_back(coarse ? std::round(w) : w);
  }
  out.excess = 3.0 * words[2 * size + 1] * static_cast<double>(size) / 4 * (id % 2 == 0 ? 1 : -1);
  if (id % 50 == 0) out.excess = 0;
  return out;
}

using Solver = at::Tensor (*)(const ThreatModel&, const at::Tensor&, const Planes&);

std::vector<double> Solve(Solver solver, Norm norm, const Draw& draw) {
  const auto n = static_cast<int64_t>(draw.point.size());
  const Planes planes{at::tensor(draw.normal).view({1, 1, 1, n}),
                      at::tensor({draw.excess}, at::kDouble)};
  const at::Tensor change =
      solver({norm, 1}, at::tensor(draw.point).view({1, 1, 1, n}), planes).to(at::kDouble);
  return {change.data_ptr<double>(), change.data_ptr<double>() + n};
}

class ChangeOntoPlane : public ::testing::TestWithParam<Norm> {};

TEST_P(ChangeOntoPlane, IsAsSmallAsTheBestOfAllFaces) {  // C27
  const Norm norm = GetParam();
  int64_t unreachable = 0;
  for (int64_t id = 0; id < 10000; ++id) {
    const Draw draw = RandomCase(id, static_cast<size_t>(1 + id % 8));
    const Problem problem = ProblemOf(draw.point, draw.normal, draw.excess);
    const std::vector<double> change = Solve(ChangeOntoPlanes, norm, draw);
    double gained = 0;
    for (size_t i = 0; i < change.size(); ++i) {
      gained -= draw.normal[i] * change[i] * (draw.excess >= 0 ? 1 : -1);
      EXPECT_GE(draw.point[i] + change[i], -1e-6);
      EXPECT_LE(draw.point[i] + change[i], 1 + 1e-6);
      if (draw.normal[i] == 0) {
        EXPECT_EQ(change[i], 0);
      }
    }
    if (problem.need < problem.Reach() - 1e-9) {
      EXPECT_NEAR(gained, problem.need, 1e-6 * (1 + problem.need)) << id;
      EXPECT_NEAR(SizeOf(norm, change), SmallestSize(norm, problem), 1e-6) << id;
    } else {
      ++unreachable;
      for (size_t i = 0; i < change.size(); ++i) {
        EXPECT_NEAR(std::abs(change[i]), problem.room[i], 1e-6) << id;
      }
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(unreachable, 1000);
}

TEST_P(ChangeOntoPlane, IsTheSameForTensorsAndForRows) {
  const Norm norm = GetParam();
  for (int64_t id = 0; id < 400; ++id) {
    const Draw draw = RandomCase(id, id < 300 ? 1 + id % 8 : 784);
    const std::vector<double> rows = Solve(ChangeOntoPlanes, norm, draw);
    const std::vector<double> tensors = Solve(ChangeOntoPlanesByTensors, norm, draw);
    for (size_t i = 0; i < rows.size(); ++i) EXPECT_NEAR(rows[i], tensors[i], 1e-6) << id;
  }
}

TEST_P(ChangeOntoPlane, LeavesAPointOnThePlaneAlone) {
  for (int64_t id = 1; id < 200; ++id) {
    Draw draw = RandomCase(id, static_cast<size_t>(1 + id % 8));
    const std::vector<double> change = Solve(ChangeOntoPlanes, GetParam(), draw);
    for (size_t i = 0; i < change.size(); ++i) {
      draw.point[i] += static_cast<float>(change[i]);
      draw.excess += draw.normal[i] * change[i];
    }
    const Problem problem = ProblemOf(draw.point, draw.normal, draw.excess);
    if (problem.need > 1e-5) continue;  // the plane was out of reach
    for (const double d : Solve(ChangeOntoPlanes, GetParam(), draw)) EXPECT_NEAR(d, 0, 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Norms, ChangeOntoPlane,
                         ::testing::Values(Norm::kLinf, Norm::kL2, Norm::kL1),
                         [](const auto& norm) { return NormName(norm.param); });

TEST(PlaneChange, HasItsHandComputedValues) {
  // Point (.5, .9), normal (-1, -2), excess -.3: the plane is reached by falling. LINF: d = .1
  // each.
  const Draw draw{{0.5F, 0.9F}, {-1, -2}, -0.3};
  for (const double d : Solve(ChangeOntoPlanes, Norm::kLinf, draw)) EXPECT_NEAR(d, -0.1, 1e-7);
  // L2: .3 / 5 * (1, 2); L1: all of it by the second value.
  EXPECT_NEAR(Solve(ChangeOntoPlanes, Norm::kL2, draw)[0], -0.06, 1e-7);
  EXPECT_NEAR(Solve(ChangeOntoPlanes, Norm::kL2, draw)[1], -0.12, 1e-7);
  EXPECT_NEAR(Solve(ChangeOntoPlanes, Norm::kL1, draw)[0], 0, 1e-7);
  EXPECT_NEAR(Solve(ChangeOntoPlanes, Norm::kL1, draw)[1], -0.15, 1e-7);
  // The other way the second value has room for .1 only, the first takes the rest of .4: .2.
  const Draw up{{0.5F, 0.9F}, {-1, -2}, 0.4};
  EXPECT_NEAR(Solve(ChangeOntoPlanes, Norm::kL1, up)[0], 0.2, 1e-6);
  EXPECT_NEAR(Solve(ChangeOntoPlanes, Norm::kL1, up)[1], 0.1, 1e-6);
  EXPECT_NEAR(Solve(ChangeOntoPlanes, Norm::kLinf, up)[0], 0.2, 1e-6);
}

TEST(PlaneChange, RefusesL0) {
  EXPECT_THROW(Solve(ChangeOntoPlanes, Norm::kL0, {{0.5F}, {1}, 0.1}), std::invalid_argument);
}

}  // namespace
}  // namespace adamant
