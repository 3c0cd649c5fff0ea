// SPDX-License-Identifier: Apache-2.0
// With s(a, t) = clip(a * back + t * normal) both problems are searches for t, in which normal.s
// rises: L2 takes the largest a <= 1 that stays inside the radius (1 / (1 + the radius's
// multiplier)); LINF has a = 0 and the smallest cube around the clean image that holds such a step.
#include "core/attacks/follow_rows.h"

#include <algorithm>
#include <cmath>

namespace adamant {
namespace {

constexpr int64_t kLanes = 8;
constexpr int kHalvings = 24;
constexpr int kRounds = 60;
constexpr double kExact = 1e-9;
constexpr double kFarthest = 1e30;

double Total(const double (&lanes)[kLanes]) {
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

FollowSolver::FollowSolver(int64_t size)
    : size_(size),
      normal_(static_cast<size_t>((size + kLanes - 1) / kLanes * kLanes)),
      back_(normal_.size()),
      least_(normal_.size()),
      most_(normal_.size()) {}

// False where there is no plane.
bool FollowSolver::Load(const FollowRow& row) {
  bool any = false;
  rise_ = row.rise;
  for (int64_t i = 0; i < size_; ++i) {
    const double point = row.point[i];
    normal_[i] = row.normal[i];
    any = any || normal_[i] != 0;
    back_[i] = row.clean[i] - point;
    least_[i] = row.low - point;
    most_[i] = row.high - point;
  }
  return any;
}

// The box cut to [clean - most, clean + most].
void FollowSolver::Narrow(const FollowRow& row, double most) {
  for (int64_t i = 0; i < size_; ++i) {
    const double point = row.point[i];
    least_[i] = std::max(row.low - point, back_[i] - most);
    most_[i] = std::min(row.high - point, back_[i] + most);
  }
}

FollowSolver::Sums FollowSolver::At(double share, double tau) const {
  double rise[kLanes] = {};
  double slope[kLanes] = {};
  double size[kLanes] = {};
  const auto padded = static_cast<int64_t>(normal_.size());
  for (int64_t i = 0; i < padded; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) {
      const double w = normal_[i + k];
      const double free = share * back_[i + k] + tau * w;
      const double low = least_[i + k];
      const double high = most_[i + k];
      const double s = free < low ? low : (free > high ? high : free);
      rise[k] += w * s;
      slope[k] += free > low && free < high ? w * w : 0.0;
      size[k] += s * s;
    }
  }
  return {Total(rise), Total(slope), Total(size)};
}

// The tau at which the step rises as far as it should; false where the box forbids it. Newton's
// method between bounds that close in: the function is monotone and piecewise linear.
bool FollowSolver::Solve(double share, double& tau) const {
  const double exact = kExact * std::max(1e-3, std::fabs(rise_));
  double low = -kFarthest;
  double high = kFarthest;
  for (int round = 0; round < kRounds; ++round) {
    const Sums here = At(share, tau);
    const double missing = rise_ - here.rise;
    if (std::fabs(missing) <= exact) return true;
    (missing > 0 ? low : high) = tau;
    double next = here.slope > 0 ? tau + missing / here.slope : (missing > 0 ? high : low);
    if (next <= low || next >= high) {
      if (low <= -kFarthest || high >= kFarthest) {
        // Every coordinate is at its bound on this side.
        if (here.slope <= 0) {
          const double far = missing > 0 ? kFarthest : -kFarthest;
          const Sums limit = At(share, far);
          if ((rise_ - limit.rise) * missing > 0) return false;
        }
        next = missing > 0 ? std::max(1.0, 2 * std::fabs(tau)) : -std::max(1.0, 2 * std::fabs(tau));
      } else {
        next = (low + high) / 2;
      }
    }
    tau = next;
  }
  return low > -kFarthest && high < kFarthest;
}

void FollowSolver::Write(double share, double tau, float* step) const {
  for (int64_t i = 0; i < size_; ++i) {
    const double free = share * back_[i] + tau * normal_[i];
    step[i] = static_cast<float>(std::min(std::max(free, least_[i]), most_[i]));
  }
}

// The tau of the step along the normal alone that gets nearest to `rise` inside the radius.
double FollowSolver::Reaching(const FollowRow& row) const {
  const double sign = row.rise >= 0 ? 1 : -1;
  double low = 0;
  double high = 1;
  while (high < kFarthest && At(0, sign * high).size < row.radius * row.radius) {
    low = high;
    high *= 4;
  }
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    (At(0, sign * middle).size <= row.radius * row.radius ? low : high) = middle;
  }
  return sign * low;
}

void FollowSolver::StepL2(const FollowRow& row, float* step) {
  if (!Load(row)) return Write(0, 0, step);
  const double most = row.radius * row.radius;
  double tau = 0;
  if (!Solve(0, tau) || At(0, tau).size > most) return Write(0, Reaching(row), step);
  double low = 0;
  double high = 1;
  double best = tau;
  if (Solve(1, tau) && At(1, tau).size <= most) return Write(1, tau, step);
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    if (Solve(middle, tau) && At(middle, tau).size <= most) {
      low = middle;
      best = tau;
    } else {
      high = middle;
    }
  }
  Write(low, best, step);
}

void FollowSolver::StepLinf(const FollowRow& row, float* step) {
  if (!Load(row)) return Write(0, 0, step);
  const double most = row.radius * row.radius;
  double tau = 0;
  if (!Solve(0, tau) || At(0, tau).size > most) return Write(0, Reaching(row), step);
  double low = 0;
  double high = 0;  // the cube that holds the step just found
  for (int64_t i = 0; i < size_; ++i) {
    const double s = std::min(std::max(tau * normal_[i], least_[i]), most_[i]);
    high = std::max(high, std::fabs(back_[i] - s));
  }
  double best = tau;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    Narrow(row, middle);
    if (Solve(0, tau) && At(0, tau).size <= most) {
      high = middle;
      best = tau;
    } else {
      low = middle;
    }
  }
  Narrow(row, high);
  Write(0, best, step);
}

}  // namespace adamant
