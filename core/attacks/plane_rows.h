// SPDX-License-Identifier: Apache-2.0
// The smallest change that puts one point on a hyperplane inside a box, on the host.
#pragma once

#include <cstdint>
#include <vector>

namespace adamant {

// The hyperplane {u : normal.u = normal.point - excess}; the box [low, high] in every coordinate.
struct PlaneRow {
  const float* point;
  const float* normal;
  double excess;
  double low;
  double high;
};

// Writes the change of one row. Coordinates whose normal is 0 stay; where the box does not reach
// the hyperplane, every other one goes to its bound. Each sum has one order, so a row's result does
// not depend on other rows. Not thread-safe: holds scratch space for rows of `size` values.
class PlaneSolver {
 public:
  explicit PlaneSolver(int64_t size);

  // min(lambda, room) in every coordinate.
  void ChangeLinf(const PlaneRow& row, float* change);
  // min(lambda * |normal|, room).
  void ChangeL2(const PlaneRow& row, float* change);
  // All the room where |normal| exceeds a threshold, an equal share of it where it equals it.
  void ChangeL1(const PlaneRow& row, float* change);

 private:
  struct Entry {
    double weight;
    double mass;  // weight * room
  };
  struct Threshold {
    double weight;
    double share;
  };

  void Load(const PlaneRow& row);
  template <bool kScaled>
  void Change(const PlaneRow& row, float* change);
  template <bool kScaled>
  double Lambda(double need) const;
  Threshold Select(double need);

  int64_t size_;
  std::vector<double> weight_;  // |normal|, padded with 0
  std::vector<double> room_;    // how far each coordinate may go towards the hyperplane
  std::vector<Entry> entries_;
};

}  // namespace adamant
