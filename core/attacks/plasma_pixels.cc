// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/attacks/corruption_pixels.h"

namespace adamant {
namespace {

// Diamond and square steps on a torus.
class Plasma {
 public:
  Plasma(int64_t side, const Rng& rng) : side_(side), rng_(rng), map_(side * side) {}

  // The centres of cells of `step`, then the middles of their edges.
  void Refine(int64_t step, double wibble) {
    const int64_t half = step / 2;
    Draw(step);
    for (int64_t i = half; i < side_; i += step) {
      for (int64_t j = half; j < side_; j += step) {
        Set(i, j,
            At(i - half, j - half) + At(i - half, j + half) + At(i + half, j - half) +
                At(i + half, j + half),
            wibble);
      }
    }
    for (int64_t i = 0; i < side_; i += half) {
      for (int64_t j = i / half % 2 == 0 ? half : 0; j < side_; j += step) {
        Set(i, j, At(i - half, j) + At(i + half, j) + At(i, j - half) + At(i, j + half), wibble);
      }
    }
  }

  std::vector<double> Normalised() && {
    const auto [low, high] = std::minmax_element(map_.begin(), map_.end());
    const double floor = *low;
    const double range = *high - floor;
    for (double& v : map_) v = range > 0 ? (v - floor) / range : 0;
    return std::move(map_);
  }

 private:
  double At(int64_t i, int64_t j) const {
    return map_[(i + side_) % side_ * side_ + (j + side_) % side_];
  }
  void Set(int64_t i, int64_t j, double sum, double wibble) {
    map_[i * side_ + j] = sum / 4 + wibble * wibble * (2.0 * draws_[next_++] - 1);
  }
  void Draw(int64_t step) {
    const int64_t cells = side_ / step;
    draws_.assign(static_cast<size_t>(3 * cells * cells), 0);
    next_ = 0;
    rng_.Uniform({.step = static_cast<uint32_t>(step), .purpose = Purpose::kNoise, .draw = 3},
                 absl::MakeSpan(draws_));
  }

  const int64_t side_;
  const Rng& rng_;
  std::vector<double> map_;
  std::vector<float> draws_;
  size_t next_ = 0;
};

}  // namespace

std::vector<double> PlasmaFractal(int64_t side, double decay, const Rng& rng) {
  Plasma plasma(side, rng);
  double wibble = 100;
  for (int64_t step = side; step >= 2; step /= 2, wibble /= decay) plasma.Refine(step, wibble);
  return std::move(plasma).Normalised();
}

}  // namespace adamant
