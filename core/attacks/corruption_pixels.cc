// SPDX-License-Identifier: Apache-2.0
#include "core/attacks/corruption_pixels.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <stdexcept>

#include "core/attacks/warp_pixels.h"

namespace adamant {
namespace {

using Constants = std::vector<double>;

// What a corruption works on.
struct Scene {
  const PlaneShape& shape;
  const Rng& rng;
  float* image;

  int64_t count() const { return shape.size(); }
  float* plane(int64_t c) const { return image + c * shape.plane(); }
  std::vector<float> Copy() const { return {image, image + count()}; }
  DrawAt At(uint16_t draw = 0) const { return {.purpose = Purpose::kNoise, .draw = draw}; }
  std::vector<float> Normals() const {
    std::vector<float> out(static_cast<size_t>(count()));
    rng.Normal(At(), absl::MakeSpan(out));
    return out;
  }
  std::vector<float> Uniforms(size_t n, uint16_t draw = 0) const {
    std::vector<float> out(n);
    rng.Uniform(At(draw), absl::MakeSpan(out));
    return out;
  }
};

void GaussianNoise(const Scene& scene, const Constants& c) {
  const std::vector<float> noise = scene.Normals();
  for (int64_t i = 0; i < scene.count(); ++i) {
    scene.image[i] += static_cast<float>(c[0] * noise[i]);
  }
}

void SpeckleNoise(const Scene& scene, const Constants& c) {
  const std::vector<float> noise = scene.Normals();
  for (int64_t i = 0; i < scene.count(); ++i) {
    scene.image[i] += static_cast<float>(c[0] * noise[i] * scene.image[i]);
  }
}

// A Poisson draw by inversion. mean <= 500.
double Poisson(double mean, double u) {
  double probability = std::exp(-mean);
  double below = probability;
  double k = 0;
  const double most = mean + 12 * std::sqrt(mean) + 20;
  while (below <= u && k < most) {
    k += 1;
    probability *= mean / k;
    below += probability;
  }
  return k;
}

void ShotNoise(const Scene& scene, const Constants& c) {
  const std::vector<float> u = scene.Uniforms(static_cast<size_t>(scene.count()));
  for (int64_t i = 0; i < scene.count(); ++i) {
    scene.image[i] = static_cast<float>(Poisson(scene.image[i] * c[0], u[i]) / c[0]);
  }
}

void ImpulseNoise(const Scene& scene, const Constants& c) {
  const std::vector<float> u = scene.Uniforms(static_cast<size_t>(scene.count()));
  const std::vector<float> salt = scene.Uniforms(static_cast<size_t>(scene.count()), 1);
  for (int64_t i = 0; i < scene.count(); ++i) {
    if (u[i] < c[0]) scene.image[i] = salt[i] < 0.5F ? 1.0F : 0.0F;
  }
}

void GaussianBlur(const Scene& scene, const Constants& c) {
  for (int64_t k = 0; k < scene.shape.channels; ++k) {
    BlurPlane(scene.shape.height, scene.shape.width, c[0], 4, /*mirror=*/false, scene.plane(k));
  }
}

// A disk of radius c[0], blurred by a Gaussian of c[1].
void DefocusBlur(const Scene& scene, const Constants& c) {
  const int64_t radius = c[0] <= 8 ? 8 : static_cast<int64_t>(c[0]);
  const int64_t side = 2 * radius + 1;
  const int64_t smooth = c[0] <= 8 ? 1 : 2;  // radius of the Gaussian
  std::vector<float> disk(static_cast<size_t>(side * side));
  double sum = 0;
  for (int64_t i = 0; i < side * side; ++i) {
    const double y = static_cast<double>(i / side - radius);
    const double x = static_cast<double>(i % side - radius);
    sum += disk[i] = x * x + y * y <= c[0] * c[0] ? 1.0F : 0.0F;
  }
  for (float& v : disk) v = static_cast<float>(v / sum);
  std::vector<double> gaussian;
  double total = 0;
  for (int64_t i = -smooth; i <= smooth; ++i) {
    for (int64_t j = -smooth; j <= smooth; ++j) {
      gaussian.push_back(std::exp(-static_cast<double>(i * i + j * j) / (2 * c[1] * c[1])));
      total += gaussian.back();
    }
  }
  for (double& weight : gaussian) weight /= total;
  std::vector<float> soft(disk.size());
  FilterPlane({1, side, side}, gaussian, 2 * smooth + 1, disk.data(), soft.data());
  const std::vector<double> kernel(soft.begin(), soft.end());
  const std::vector<float> before = scene.Copy();
  for (int64_t k = 0; k < scene.shape.channels; ++k) {
    FilterPlane(scene.shape, kernel, side, before.data() + k * scene.shape.plane(), scene.plane(k));
  }
}

// One half of a Gaussian of c[1], c[0] pixels long, along an angle of +-45 degrees.
void MotionBlur(const Scene& scene, const Constants& c) {
  const double angle = (scene.Uniforms(1)[0] * 2.0 - 1) * std::numbers::pi / 4;
  const auto length = static_cast<int64_t>(2 * c[0] + 1);
  std::vector<double> weights;
  double sum = 0;
  for (int64_t i = 0; i < length; ++i) {
    weights.push_back(std::exp(-static_cast<double>(i * i) / (2 * c[1] * c[1])));
    sum += weights.back();
  }
  const std::vector<float> before = scene.Copy();
  const PlaneShape& shape = scene.shape;
  for (int64_t p = 0; p < shape.size(); ++p) {
    const float* plane = before.data() + p / shape.plane() * shape.plane();
    const int64_t row = p % shape.plane() / shape.width;
    const int64_t column = p % shape.width;
    double value = 0;
    for (int64_t i = 0; i < length; ++i) {
      const auto down = std::lround(static_cast<double>(i) * std::sin(angle));
      const auto right = std::lround(static_cast<double>(i) * std::cos(angle));
      const int64_t y = std::clamp<int64_t>(row + down, 0, shape.height - 1);
      const int64_t x = std::clamp<int64_t>(column + right, 0, shape.width - 1);
      value += weights[i] * plane[y * shape.width + x];
    }
    scene.image[p] = static_cast<float>(value / sum);
  }
}

// Which of `count` rows an enlargement shows at row i: the middle ceil(count / zoom) of them are
// stretched corner to corner over a whole number of rows, of which the middle `count` are cut.
double EnlargedRow(int64_t i, int64_t count, double zoom) {
  const auto kept = static_cast<int64_t>(std::ceil(static_cast<double>(count) / zoom));
  const auto grown = static_cast<int64_t>(std::lrint(static_cast<double>(kept) * zoom));
  if (grown <= 1) return 0;
  const auto first = static_cast<double>((count - kept) / 2);
  const int64_t cut = (grown - count) / 2;
  return first + static_cast<double>((i + cut) * (kept - 1)) / static_cast<double>(grown - 1);
}

// The mean of the image and of its enlargements by 1, 1 + c[1], ..., c[0].
void ZoomBlur(const Scene& scene, const Constants& c) {
  const std::vector<float> before = scene.Copy();
  std::vector<double> sum(before.begin(), before.end());
  const PlaneShape& shape = scene.shape;
  const double step = (1 + c[1]) - 1;  // rounded as the published ranges are
  int64_t images = 1;
  for (double zoom = 1; zoom < c[0] + 1e-9; zoom = 1 + static_cast<double>(images - 1) * step) {
    for (int64_t p = 0; p < shape.size(); ++p) {
      const float* plane = before.data() + p / shape.plane() * shape.plane();
      const double row = EnlargedRow(p % shape.plane() / shape.width, shape.height, zoom);
      const double column = EnlargedRow(p % shape.width, shape.width, zoom);
      sum[p] += Bilinear(shape, plane, row, column);
    }
    ++images;
  }
  for (int64_t p = 0; p < shape.size(); ++p) {
    scene.image[p] = static_cast<float>(sum[p] / static_cast<double>(images));
  }
}

void Fog(const Scene& scene, const Constants& c) {
  const PlaneShape& shape = scene.shape;
  int64_t side = 2;
  while (side < std::max(shape.height, shape.width)) side *= 2;
  const std::vector<double> plasma = PlasmaFractal(side, c[1], scene.rng);
  const double brightest = *std::max_element(scene.image, scene.image + scene.count());
  for (int64_t p = 0; p < shape.size(); ++p) {
    const int64_t at = p % shape.plane() / shape.width * side + p % shape.width;
    scene.image[p] =
        static_cast<float>((scene.image[p] + c[0] * plasma[at]) * brightest / (brightest + c[0]));
  }
}

// Raises V of HSV, the largest channel: the others keep their ratio to it.
void Brightness(const Scene& scene, const Constants& c) {
  const PlaneShape& shape = scene.shape;
  for (int64_t p = 0; p < shape.plane(); ++p) {
    double value = 0;
    for (int64_t k = 0; k < shape.channels; ++k) {
      value = std::max<double>(value, scene.plane(k)[p]);
    }
    const double raised = std::min(value + c[0], 1.0);
    for (int64_t k = 0; k < shape.channels; ++k) {
      float& v = scene.plane(k)[p];
      v = static_cast<float>(value > 0 ? v * (raised / value) : raised);
    }
  }
}

void Contrast(const Scene& scene, const Constants& c) {
  for (int64_t k = 0; k < scene.shape.channels; ++k) {
    float* plane = scene.plane(k);
    double mean = 0;
    for (int64_t p = 0; p < scene.shape.plane(); ++p) mean += plane[p];
    mean /= static_cast<double>(scene.shape.plane());
    for (int64_t p = 0; p < scene.shape.plane(); ++p) {
      plane[p] = static_cast<float>((plane[p] - mean) * c[0] + mean);
    }
  }
}

// S of HSV becomes c[0] S + c[1]; grey has the hue 0, which is red. Other than 3 channels have no
// saturation.
void Saturate(const Scene& scene, const Constants& c) {
  if (scene.shape.channels != 3) return;
  for (int64_t p = 0; p < scene.shape.plane(); ++p) {
    float* rgb[3] = {&scene.plane(0)[p], &scene.plane(1)[p], &scene.plane(2)[p]};
    const double high = std::max({*rgb[0], *rgb[1], *rgb[2]});
    const double low = std::min({*rgb[0], *rgb[1], *rgb[2]});
    const double before = high > 0 ? (high - low) / high : 0;
    const double after = std::clamp(before * c[0] + c[1], 0.0, 1.0);
    for (int64_t k = 0; k < 3; ++k) {
      const double grey = k == 0 ? high : high * (1 - after);
      *rgb[k] = static_cast<float>(
          before > 0 ? high - (high - static_cast<double>(*rgb[k])) * (after / before) : grey);
    }
  }
}

// Means over the pixels whose centres a cell covers, then each cell as a block.
void Pixelate(const Scene& scene, const Constants& c) {
  const PlaneShape& shape = scene.shape;
  const auto cells = [&](int64_t count) {
    return std::max<int64_t>(static_cast<int64_t>(static_cast<double>(count) * c[0]), 1);
  };
  const int64_t rows = cells(shape.height);
  const int64_t columns = cells(shape.width);
  const auto edge = [](int64_t cell, int64_t cells_of, int64_t count) {
    return static_cast<int64_t>(static_cast<double>(cell * count) / static_cast<double>(cells_of) +
                                0.5);
  };
  for (int64_t k = 0; k < shape.channels; ++k) {
    const std::vector<float> before(scene.plane(k), scene.plane(k) + shape.plane());
    std::vector<double> small(static_cast<size_t>(rows * columns));
    for (int64_t cell = 0; cell < rows * columns; ++cell) {
      const int64_t i = cell / columns;
      const int64_t j = cell % columns;
      double sum = 0;
      int64_t pixels = 0;
      for (int64_t y = edge(i, rows, shape.height); y < edge(i + 1, rows, shape.height); ++y) {
        for (int64_t x = edge(j, columns, shape.width); x < edge(j + 1, columns, shape.width);
             ++x) {
          sum += before[y * shape.width + x];
          ++pixels;
        }
      }
      small[cell] = sum / static_cast<double>(pixels);
    }
    for (int64_t p = 0; p < shape.plane(); ++p) {
      const int64_t i = (2 * (p / shape.width) + 1) * rows / (2 * shape.height);
      const int64_t j = (2 * (p % shape.width) + 1) * columns / (2 * shape.width);
      scene.plane(k)[p] = static_cast<float>(small[i * columns + j]);
    }
  }
}

void Jpeg(const Scene& scene, const Constants& c) {
  ThroughJpeg(scene.shape, static_cast<int>(c[0]), scene.image);
}

// c: strength and smoothness of the displacement, and the random affine part, of the side.
void Elastic(const Scene& scene, const Constants& c) {
  const PlaneShape& shape = scene.shape;
  const auto side = static_cast<double>(std::max(shape.height, shape.width));
  const auto pixels = static_cast<size_t>(shape.plane());
  std::vector<float> fields[2] = {scene.Uniforms(pixels, 0), scene.Uniforms(pixels, 1)};
  for (std::vector<float>& field : fields) {
    for (float& v : field) v = 2 * v - 1;
    BlurPlane(shape.height, shape.width, c[1] * side, 3, /*mirror=*/true, field.data());
  }
  // Three points of a square a third of the side around the centre move by up to c[2].
  const std::vector<float> u = scene.Uniforms(6, 2);
  const auto moved = [&](size_t i) { return (2.0 * u[i] - 1) * c[2] * side; };
  const auto third =
      static_cast<double>(std::max<int64_t>(std::min(shape.height, shape.width) / 3, 1));
  const double middle_row = std::floor(static_cast<double>(shape.height) / 2);
  const double middle_column = std::floor(static_cast<double>(shape.width) / 2);
  // Points (+,+), (+,-), (-,-) of (row, column) around the centre; the map is affine in them.
  const double d_row[2] = {(moved(0) - moved(4) - (moved(0) - moved(2))) / (2 * third),
                           (moved(0) - moved(2)) / (2 * third)};
  const double d_column[2] = {(moved(1) - moved(5) - (moved(1) - moved(3))) / (2 * third),
                              (moved(1) - moved(3)) / (2 * third)};
  const std::vector<float> before = scene.Copy();
  for (int64_t p = 0; p < shape.size(); ++p) {
    const float* plane = before.data() + p / shape.plane() * shape.plane();
    const int64_t at = p % shape.plane();
    const double y = static_cast<double>(at / shape.width);
    const double x = static_cast<double>(at % shape.width);
    const double a = y - middle_row - third;
    const double b = x - middle_column - third;
    const double row = y + moved(0) + d_row[0] * a + d_row[1] * b + c[0] * side * fields[1][at];
    const double column =
        x + moved(1) + d_column[0] * a + d_column[1] * b + c[0] * side * fields[0][at];
    scene.image[p] = static_cast<float>(Bilinear(shape, plane, row, column, /*mirror=*/true));
  }
}

struct Type {
  void (*apply)(const Scene& scene, const Constants& constants);
  std::vector<Constants> small;  // 32 pixels, severity 1..5
  std::vector<Constants> large;  // 224 pixels
};

// The table takes 244 for the side of an image of 224 pixels.
constexpr double kElasticSide = 244.0 / 224;

// The ends of zoom_blur are the last enlargements of the table's half-open ranges, as rounding has
// them.
const std::map<std::string, Type>& Types() {
  static const auto* types = new std::map<std::string, Type>{
      {"gaussian_noise",
       {GaussianNoise, {{.04}, {.06}, {.08}, {.09}, {.10}}, {{.08}, {.12}, {.18}, {.26}, {.38}}}},
      {"shot_noise", {ShotNoise, {{500}, {250}, {100}, {75}, {50}}, {{60}, {25}, {12}, {5}, {3}}}},
      {"impulse_noise",
       {ImpulseNoise, {{.01}, {.02}, {.03}, {.05}, {.07}}, {{.03}, {.06}, {.09}, {.17}, {.27}}}},
      {"speckle_noise",
       {SpeckleNoise, {{.06}, {.1}, {.12}, {.16}, {.2}}, {{.15}, {.2}, {.35}, {.45}, {.6}}}},
      {"gaussian_blur", {GaussianBlur, {{.4}, {.6}, {.7}, {.8}, {1}}, {{1}, {2}, {3}, {4}, {6}}}},
      {"defocus_blur",
       {DefocusBlur,
        {{.3, .4}, {.4, .5}, {.5, .6}, {1, .2}, {1.5, .1}},
        {{3, .1}, {4, .5}, {6, .5}, {8, .5}, {10, .5}}}},
      {"motion_blur",
       {MotionBlur,
        {{6, 1}, {6, 1.5}, {6, 2}, {8, 2}, {9, 2.5}},
        {{10, 3}, {15, 5}, {15, 8}, {15, 12}, {20, 15}}}},
      {"zoom_blur",
       {ZoomBlur,
        {{1.06, .01}, {1.11, .01}, {1.15, .01}, {1.2, .01}, {1.25, .01}},
        {{1.11, .01}, {1.15, .01}, {1.2, .02}, {1.24, .02}, {1.3, .03}}}},
      {"fog",
       {Fog,
        {{.2, 3}, {.5, 3}, {.75, 2.5}, {1, 2}, {1.5, 1.75}},
        {{1.5, 2}, {2, 2}, {2.5, 1.7}, {2.5, 1.5}, {3, 1.4}}}},
      {"brightness",
       {Brightness, {{.05}, {.1}, {.15}, {.2}, {.3}}, {{.1}, {.2}, {.3}, {.4}, {.5}}}},
      {"contrast", {Contrast, {{.75}, {.5}, {.4}, {.3}, {.15}}, {{.4}, {.3}, {.2}, {.1}, {.05}}}},
      {"saturate",
       {Saturate,
        {{.3, 0}, {.1, 0}, {1.5, 0}, {2, .1}, {2.5, .2}},
        {{.3, 0}, {.1, 0}, {2, 0}, {5, .1}, {20, .2}}}},
      {"pixelate", {Pixelate, {{.95}, {.9}, {.85}, {.75}, {.65}}, {{.6}, {.5}, {.4}, {.3}, {.25}}}},
      {"jpeg", {Jpeg, {{80}, {65}, {58}, {50}, {40}}, {{25}, {18}, {15}, {10}, {7}}}},
      {"elastic",
       {Elastic,
        {{0, 0, .08}, {.05, .2, .07}, {.08, .06, .06}, {.1, .04, .05}, {.1, .03, .03}},
        {{2 * kElasticSide, .7 * kElasticSide, .1 * kElasticSide},
         {2 * kElasticSide, .08 * kElasticSide, .2 * kElasticSide},
         {.05 * kElasticSide, .01 * kElasticSide, .02 * kElasticSide},
         {.07 * kElasticSide, .01 * kElasticSide, .02 * kElasticSide},
         {.12 * kElasticSide, .01 * kElasticSide, .02 * kElasticSide}}}}};
  return *types;
}

constexpr int64_t kLargestSmall = 64;

}  // namespace

std::vector<std::string> CorruptionTypes() {
  std::vector<std::string> names;
  for (const auto& [name, type] : Types()) names.push_back(name);
  return names;
}

void Corrupt(const std::string& type, int64_t severity, const PlaneShape& shape, const Rng& rng,
             float* image) {
  const auto found = Types().find(type);
  if (found == Types().end() || severity < 1 || severity > 5) {
    throw std::invalid_argument("unknown corruption \"" + type + "\" or severity");
  }
  const bool large = std::max(shape.height, shape.width) > kLargestSmall;
  const auto& constants = large ? found->second.large : found->second.small;
  found->second.apply({shape, rng, image}, constants[static_cast<size_t>(severity - 1)]);
  for (int64_t i = 0; i < shape.size(); ++i) image[i] = std::clamp(image[i], 0.0F, 1.0F);
}

}  // namespace adamant
