// SPDX-License-Identifier: Apache-2.0
// One step along a linearised decision boundary inside a trust region, on the host.
#pragma once

#include <cstdint>
#include <vector>

namespace adamant {

// The step s has normal.s = rise, ||s||_2 <= radius, and point + s in the box [low, high].
struct FollowRow {
  const float* clean;
  const float* point;
  const float* normal;
  double rise;
  double radius;
  double low;
  double high;
};

// Writes the step of one row after which the point is nearest to the clean image; where no step
// has all three properties, the one inside radius and box that gets nearest to `rise`. Each sum has
// one order, so a row's result does not depend on other rows. Not thread-safe: holds scratch space
// for rows of `size` values.
class FollowSolver {
 public:
  explicit FollowSolver(int64_t size);

  void StepL2(const FollowRow& row, float* step);
  void StepLinf(const FollowRow& row, float* step);

 private:
  struct Sums {
    double rise;
    double slope;  // of rise, by tau
    double size;   // ||s||_2^2
  };

  bool Load(const FollowRow& row);
  void Narrow(const FollowRow& row, double most);
  Sums At(double share, double tau) const;
  bool Solve(double share, double& tau) const;
  void Write(double share, double tau, float* step) const;
  double Reaching(const FollowRow& row) const;

  int64_t size_;
  double rise_ = 0;
  std::vector<double> normal_;  // padded with 0, as all that follow
  std::vector<double> back_;    // from the point to the clean image
  std::vector<double> least_;   // how far each coordinate may go
  std::vector<double> most_;
};

}  // namespace adamant
