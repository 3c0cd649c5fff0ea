// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/square_pixels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace adamant {
namespace {

constexpr double kTiny = 1e-12;
constexpr int64_t kMilestones[] = {10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000};
constexpr int kMoveWords = 5;
constexpr int kProjectionSteps = 100;

int64_t SideOf(double share, const PlaneShape& planes) {
  return std::lrint(std::sqrt(share * static_cast<double>(planes.plane())));
}

int64_t Below(uint32_t word, int64_t count) {
  return static_cast<int64_t>(uint64_t{word} * static_cast<uint64_t>(count) >> 32);
}

// One pyramid [height,width] added into `out` with the sign `sign`.
void AddPyramid(int64_t height, int64_t width, int power, float sign, float* out) {
  const int64_t rings = std::max(height / 2, width / 2) + 1;
  std::vector<double> levels(static_cast<size_t>(rings) + 1);
  for (int64_t r = rings - 1; r >= 0; --r) {
    levels[r] = levels[r + 1] + std::pow(static_cast<double>(r + 1), -power);
  }
  for (int64_t i = 0; i < height; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      const int64_t ring = std::max(std::abs(i - height / 2), std::abs(j - width / 2));
      out[i * width + j] += sign * static_cast<float>(levels[ring]);
    }
  }
}

template <bool kL1>
double Size(float value) {
  return kL1 ? std::abs(static_cast<double>(value)) : static_cast<double>(value) * value;
}

template <bool kL1>
double Root(double sum) {
  return kL1 ? sum : std::sqrt(sum);
}

template <bool kL1>
double SizeOf(const float* values, int64_t count) {
  double parts[4] = {};
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int64_t j = 0; j < 4; ++j) parts[j] += Size<kL1>(values[i + j]);
  }
  for (; i < count; ++i) parts[0] += Size<kL1>(values[i]);
  return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

template <bool kL1>
double WindowSize(const PlaneShape& planes, int64_t row, int64_t column, int64_t side,
                  const float* plane) {
  double sum = 0;
  for (int64_t i = 0; i < side; ++i) {
    sum += SizeOf<kL1>(plane + (row + i) * planes.width + column, side);
  }
  return sum;
}

// Size of the change in both windows together, all channels.
template <bool kL1>
double MovedMass(const PlaneShape& planes, const SquareMove& move, int64_t side,
                 const float* change) {
  const int64_t top = std::max(move.row, move.row2);
  const int64_t rows = std::min(move.row, move.row2) + side - top;
  const int64_t left = std::max(move.column, move.column2);
  const int64_t columns = std::min(move.column, move.column2) + side - left;
  double sum = 0;
  for (int64_t c = 0; c < planes.channels; ++c) {
    const float* plane = change + c * planes.plane();
    sum += WindowSize<kL1>(planes, move.row, move.column, side, plane);
    sum += WindowSize<kL1>(planes, move.row2, move.column2, side, plane);
    for (int64_t i = 0; i < rows && columns > 0; ++i) {
      sum -= SizeOf<kL1>(plane + (top + i) * planes.width + left, columns);
    }
  }
  return std::max(sum, 0.0);
}

// The new first window of one channel: pyramids plus the old direction, of size `mass`.
template <bool kL1>
void FillWindow(const PlaneShape& planes, const SquareMove& move, int64_t side, float sign,
                const float* pyramids, double mass, const float* plane, float* window) {
  const double old = Root<kL1>(WindowSize<kL1>(planes, move.row, move.column, side, plane));
  const auto scale = static_cast<float>(1 / (kTiny + old));
  for (int64_t i = 0; i < side; ++i) {
    const float* line = plane + (move.row + i) * planes.width + move.column;
    for (int64_t j = 0; j < side; ++j) {
      const float height = pyramids[move.turned ? j * side + i : i * side + j];
      window[i * side + j] = sign * height + line[j] * scale;
    }
  }
  const double size = Root<kL1>(SizeOf<kL1>(window, side * side));
  const auto factor = static_cast<float>(mass / (kTiny + size));
  for (int64_t i = 0; i < side * side; ++i) window[i] *= factor;
}

template <bool kL1>
void ShiftMass(const PlaneShape& planes, double epsilon, const SquareMove& move, int64_t side,
               const float* signs, const float* pyramids, float* change, float* window) {
  const auto channels = static_cast<double>(planes.channels);
  const double full = kL1 ? epsilon : epsilon * epsilon;
  const double free = std::max(full - SizeOf<kL1>(change, planes.size()), 0.0) / channels;
  const double moved = free + MovedMass<kL1>(planes, move, side, change);
  const double mass = kL1 ? moved * channels : std::sqrt(moved);
  for (int64_t c = 0; c < planes.channels; ++c) {
    float* plane = change + c * planes.plane();
    FillWindow<kL1>(planes, move, side, signs[c], pyramids, mass, plane, window);
    for (int64_t i = 0; i < side; ++i) {
      std::fill_n(plane + (move.row2 + i) * planes.width + move.column2, side, 0.0F);
    }
    for (int64_t i = 0; i < side; ++i) {
      std::copy_n(window + i * side, side, plane + (move.row + i) * planes.width + move.column);
    }
  }
}

// The L1 norm of a change whose sizes shrink by lambda within the box, and how many of them move.
struct Shrunk {
  double sum = 0;
  int64_t sloped = 0;
};

Shrunk Shrink(int64_t count, double lambda, const MassBudget& box, const float* x,
              const float* change) {
  Shrunk out;
  for (int64_t i = 0; i < count; ++i) {
    const double room = change[i] > 0 ? static_cast<double>(box.clip_max) - x[i]
                                      : static_cast<double>(x[i]) - box.clip_min;
    const double rest = std::max(std::abs(static_cast<double>(change[i])) - lambda, 0.0);
    out.sum += std::min(rest, room);
    out.sloped += rest > 0 && rest < room;
  }
  return out;
}

// Newton's step on the piecewise linear norm, kept between bounds that close in.
double ShrinkBy(int64_t count, double radius, const MassBudget& box, const float* x,
                const float* change) {
  double low = 0;
  double high = 0;
  for (int64_t i = 0; i < count; ++i) high = std::max<double>(high, std::abs(change[i]));
  double lambda = 0;
  for (int step = 0; step < kProjectionSteps; ++step) {
    const Shrunk at = Shrink(count, lambda, box, x, change);
    if (at.sum <= radius && (lambda == 0 || radius - at.sum <= 1e-9 * radius)) return lambda;
    (at.sum > radius ? low : high) = lambda;
    const double newton =
        at.sloped > 0 ? lambda + (at.sum - radius) / static_cast<double>(at.sloped) : -1;
    lambda = newton > low && newton < high ? newton : (low + high) / 2;
  }
  return high;
}

}  // namespace

double SquareShare(double p_init, int64_t iteration) {
  for (const int64_t milestone : kMilestones) {
    if (iteration <= milestone) break;
    p_init /= 2;
  }
  return p_init;
}

int64_t SquareSide(double share, const PlaneShape& planes) {
  return std::min({std::max<int64_t>(SideOf(share, planes), 1), planes.height, planes.width});
}

int64_t PyramidSide(double share, const PlaneShape& planes) {
  const int64_t room = std::min(planes.height, planes.width);
  const int64_t side = std::max<int64_t>(SideOf(share, planes), 3) | 1;
  return std::min(side, room - (room % 2 == 0));
}

std::vector<float> Pyramids(int64_t side, bool l1) {
  std::vector<float> out(static_cast<size_t>(side * side));
  const int power = l1 ? 4 : 2;
  // The halves have different heights, so each is brought to norm 1 before the whole is.
  const int64_t top = side / 2;
  AddPyramid(top, side, power, 1, out.data());
  AddPyramid(side - top, side, power, -1, out.data() + top * side);
  const auto normalise = [l1](float* values, int64_t count) {
    const double size = l1 ? SizeOf<true>(values, count) : std::sqrt(SizeOf<false>(values, count));
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(values[i] / size);
  };
  normalise(out.data(), top * side);
  normalise(out.data() + top * side, (side - top) * side);
  normalise(out.data(), side * side);
  return out;
}

SquareMove DrawMove(const Rng& rng, const DrawAt& at, const PlaneShape& planes, int64_t side,
                    bool exclusive, absl::Span<uint32_t> words, float* signs) {
  rng.Words(at, words);
  const int64_t rows = std::max<int64_t>(planes.height - side + !exclusive, 1);
  const int64_t columns = std::max<int64_t>(planes.width - side + !exclusive, 1);
  for (int64_t c = 0; c < planes.channels; ++c) {
    signs[c] = (words[kMoveWords + c] >> 31) != 0 ? -1.0F : 1.0F;
  }
  return {Below(words[0], rows), Below(words[1], columns), Below(words[2], rows),
          Below(words[3], columns), (words[4] >> 31) != 0};
}

void PutWindow(const PlaneShape& planes, const SquareMove& move, int64_t side, const float* signs,
               const float* low, const float* high, float* image, float* before) {
  for (int64_t c = 0; c < planes.channels; ++c) {
    const float* vertex = signs[c] > 0 ? high : low;
    for (int64_t i = 0; i < side; ++i) {
      const int64_t at = c * planes.plane() + (move.row + i) * planes.width + move.column;
      std::copy_n(image + at, side, before);
      std::copy_n(vertex + at, side, image + at);
      before += side;
    }
  }
}

void RestoreWindow(const PlaneShape& planes, const SquareMove& move, int64_t side,
                   const float* before, float* image) {
  for (int64_t c = 0; c < planes.channels; ++c) {
    for (int64_t i = 0; i < side; ++i) {
      const int64_t at = c * planes.plane() + (move.row + i) * planes.width + move.column;
      std::copy_n(before, side, image + at);
      before += side;
    }
  }
}

void MoveMass(const PlaneShape& planes, const MassBudget& budget, const SquareMove& move,
              int64_t side, const float* signs, const float* pyramids, const float* x,
              const float* best, float* image, absl::Span<float> window) {
  const int64_t count = planes.size();
  for (int64_t i = 0; i < count; ++i) image[i] = best[i] - x[i];
  if (budget.l1) {
    ShiftMass<true>(planes, budget.epsilon, move, side, signs, pyramids, image, window.data());
    return ProjectChangeL1(count, budget.epsilon * (1 - 1e-6), budget, x, image);
  }
  ShiftMass<false>(planes, budget.epsilon, move, side, signs, pyramids, image, window.data());
  const double size = std::sqrt(SizeOf<false>(image, count));
  const auto scale = static_cast<float>(budget.epsilon / (size + kTiny));
  for (int64_t i = 0; i < count; ++i) {
    image[i] = std::clamp(x[i] + image[i] * scale, budget.clip_min, budget.clip_max);
  }
}

void ProjectChangeL1(int64_t count, double radius, const MassBudget& box, const float* x,
                     float* values) {
  const double lambda = ShrinkBy(count, radius, box, x, values);
  for (int64_t i = 0; i < count; ++i) {
    const double rest = std::max(std::abs(static_cast<double>(values[i])) - lambda, 0.0);
    const auto moved = static_cast<float>(x[i] + std::copysign(rest, values[i]));
    values[i] = std::clamp(moved, box.clip_min, box.clip_max);
  }
}

}  // namespace adamant
