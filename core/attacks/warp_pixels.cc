// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/warp_pixels.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace adamant {
namespace {

int64_t Clamped(int64_t i, int64_t count) { return std::clamp<int64_t>(i, 0, count - 1); }

// ... 1 0 | 0 1 2 | 2 1 ...
int64_t Mirrored(int64_t i, int64_t count) {
  const int64_t period = 2 * count;
  i = (i % period + period) % period;
  return i < count ? i : period - 1 - i;
}

// ... 2 1 | 0 1 2 | 1 0 ...
int64_t Reflected(int64_t i, int64_t count) {
  if (count == 1) return 0;
  const int64_t period = 2 * (count - 1);
  i = (i % period + period) % period;
  return i < count ? i : period - i;
}

// One dimension of a plane: `lines` lines of `count` values `stride` apart.
void BlurLines(int64_t lines, int64_t line_stride, int64_t count, int64_t stride,
               const std::vector<double>& kernel, bool mirror, float* plane) {
  const auto radius = static_cast<int64_t>(kernel.size() / 2);
  std::vector<float> line(static_cast<size_t>(count));
  for (int64_t l = 0; l < lines; ++l) {
    float* values = plane + l * line_stride;
    for (int64_t i = 0; i < count; ++i) line[i] = values[i * stride];
    for (int64_t i = 0; i < count; ++i) {
      double sum = 0;
      for (int64_t k = -radius; k <= radius; ++k) {
        sum += kernel[k + radius] * line[mirror ? Mirrored(i + k, count) : Clamped(i + k, count)];
      }
      values[i * stride] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void MovePixels(const PlaneShape& shape, const Pose& pose, const float* image, float* out) {
  const double angle = pose.degrees * std::numbers::pi / 180;
  const double cosine = std::cos(angle);
  const double sine = std::sin(angle);
  const double middle_row = static_cast<double>(shape.height - 1) / 2;
  const double middle_column = static_cast<double>(shape.width - 1) / 2;
  const auto value = [&](const float* plane, int64_t i, int64_t j) {
    const bool inside = i >= 0 && i < shape.height && j >= 0 && j < shape.width;
    return inside ? static_cast<double>(plane[i * shape.width + j]) : 0.0;
  };
  for (int64_t i = 0; i < shape.height; ++i) {
    for (int64_t j = 0; j < shape.width; ++j) {
      const double y = static_cast<double>(i) - middle_row - pose.down;
      const double x = static_cast<double>(j) - middle_column - pose.right;
      const double row = middle_row + cosine * y + sine * x;
      const double column = middle_column - sine * y + cosine * x;
      const double top = std::floor(row);
      const double left = std::floor(column);
      const double a = row - top;
      const double b = column - left;
      const auto r = static_cast<int64_t>(top);
      const auto c = static_cast<int64_t>(left);
      for (int64_t channel = 0; channel < shape.channels; ++channel) {
        const float* plane = image + channel * shape.plane();
        out[channel * shape.plane() + i * shape.width + j] = static_cast<float>(
            (1 - a) * ((1 - b) * value(plane, r, c) + b * value(plane, r, c + 1)) +
            a * ((1 - b) * value(plane, r + 1, c) + b * value(plane, r + 1, c + 1)));
      }
    }
  }
}

double Bilinear(const PlaneShape& shape, const float* plane, double row, double column,
                bool mirror) {
  const double top = std::floor(row);
  const double left = std::floor(column);
  const double a = row - top;
  const double b = column - left;
  const auto place = mirror ? Reflected : Clamped;
  const auto at = [&](int64_t i, int64_t j) {
    return static_cast<double>(plane[place(i, shape.height) * shape.width + place(j, shape.width)]);
  };
  const auto r = static_cast<int64_t>(top);
  const auto c = static_cast<int64_t>(left);
  return (1 - a) * ((1 - b) * at(r, c) + b * at(r, c + 1)) +
         a * ((1 - b) * at(r + 1, c) + b * at(r + 1, c + 1));
}

void BlurPlane(int64_t height, int64_t width, double sigma, double truncate, bool mirror,
               float* plane) {
  if (sigma <= 0) return;
  const auto radius = static_cast<int64_t>(truncate * sigma + 0.5);
  std::vector<double> kernel(static_cast<size_t>(2 * radius + 1));
  double sum = 0;
  for (int64_t k = -radius; k <= radius; ++k) {
    const auto x = static_cast<double>(k);
    sum += kernel[k + radius] = std::exp(-x * x / (2 * sigma * sigma));
  }
  for (double& weight : kernel) weight /= sum;
  BlurLines(width, 1, height, width, kernel, mirror, plane);
  BlurLines(height, width, width, 1, kernel, mirror, plane);
}

void FilterPlane(const PlaneShape& shape, const std::vector<double>& kernel, int64_t side,
                 const float* plane, float* out) {
  const int64_t radius = side / 2;
  for (int64_t i = 0; i < shape.height; ++i) {
    for (int64_t j = 0; j < shape.width; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < side * side; ++k) {
        const double weight = kernel[k];
        if (weight == 0) continue;
        sum += weight * plane[Reflected(i + k / side - radius, shape.height) * shape.width +
                              Reflected(j + k % side - radius, shape.width)];
      }
      out[i * shape.width + j] = static_cast<float>(sum);
    }
  }
}

}  // namespace adamant
