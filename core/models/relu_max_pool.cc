// SPDX-License-Identifier: Apache-2.0
#include "core/models/relu_max_pool.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/torch.h"
#include "core/models/relu_max_pool_bf16.h"

namespace adamant {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Where an output came from: 0..3 row by row within its window; kInactive is added where nothing is
// positive.
constexpr uint8_t kInactive = 4;
constexpr int64_t kRowsPerTask = 1024;

// The rows of windows of [N,C,H,W], counted through.
struct Rows {
  explicit Rows(at::IntArrayRef full)
      : channels(full[1]),
        height(full[2]),
        width(full[3]),
        per_plane(full[2] / 2),
        count(full[0] * full[1] * per_plane) {}

  int64_t windows() const { return width / 2; }  // of a row
  // Offsets of the upper one of the two input rows, and of the output row.
  int64_t Upper(int64_t row) const {
    return (row / per_plane * height + 2 * (row % per_plane)) * width;
  }
  int64_t Pooled(int64_t row) const { return row * windows(); }
  int64_t Image(int64_t row) const { return row / (per_plane * channels); }

  int64_t channels, height, width, per_plane, count;
};

// `places` and `slopes` may be null.
struct Kernels {
  void (*pool)(const Rows& rows, int64_t begin, int64_t end, const float* in, float* out,
               uint8_t* places);
  void (*spread)(const Rows& rows, int64_t begin, int64_t end, const float* gradient,
                 const uint8_t* places, const float* slopes, float* out);
};

// A NaN in the window is the result, as in max_pool2d. `places` may be null.
void PoolRow(const float* upper, const float* lower, int64_t count, float* out, uint8_t* places) {
  for (int64_t j = 0; j < count; ++j) {
    const float values[4] = {upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1]};
    uint8_t place = 0;
    for (uint8_t k = 1; k < 4; ++k) {
      if (values[k] > values[place] || std::isnan(values[k])) place = k;
    }
    const bool inactive = values[place] <= 0;
    out[j] = inactive ? 0 : values[place];
    if (places != nullptr) places[j] = inactive ? place + kInactive : place;
  }
}

void SpreadRow(const float* gradient, const uint8_t* places, float slope, int64_t count,
               float* upper, float* lower) {
  for (int64_t j = 0; j < count; ++j) {
    float* const to[4] = {upper + 2 * j, upper + 2 * j + 1, lower + 2 * j, lower + 2 * j + 1};
    for (float* value : to) *value = 0;
    const bool inactive = places[j] >= kInactive;
    if (!inactive || slope != 0) *to[places[j] % kInactive] = gradient[j] * (inactive ? slope : 1);
  }
}

void PoolRows(const Rows& rows, int64_t begin, int64_t end, const float* in, float* out,
              uint8_t* places) {
  for (int64_t row = begin; row < end; ++row) {
    const float* upper = in + rows.Upper(row);
    const int64_t to = rows.Pooled(row);
    PoolRow(upper, upper + rows.width, rows.windows(), out + to,
            places == nullptr ? nullptr : places + to);
  }
}

void SpreadRows(const Rows& rows, int64_t begin, int64_t end, const float* gradient,
                const uint8_t* places, const float* slopes, float* out) {
  for (int64_t row = begin; row < end; ++row) {
    float* upper = out + rows.Upper(row);
    const int64_t from = rows.Pooled(row);
    SpreadRow(gradient + from, places + from, slopes == nullptr ? 0 : slopes[rows.Image(row)],
              rows.windows(), upper, upper + rows.width);
  }
}

constexpr Kernels kPlain{PoolRows, SpreadRows};

#if defined(__x86_64__)
#define ADAMANT_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))

// The first `count` of 16 lanes, and those of the 2 * count values in two registers.
struct Lanes {
  explicit Lanes(int64_t count)
      : windows(static_cast<__mmask16>((1U << count) - 1)),
        first(static_cast<__mmask16>(count >= 8 ? 0xFFFF : (1U << (2 * count)) - 1)),
        second(static_cast<__mmask16>(count <= 8 ? 0 : (1U << (2 * count - 16)) - 1)) {}
  __mmask16 windows, first, second;
};

// Takes `values` and its place where they are larger or NaN.
ADAMANT_AVX512 inline void TakeLarger(__m512 values, int place, __m512& best, __m512i& places) {
  const __mmask16 larger = _mm512_cmp_ps_mask(values, best, _CMP_GT_OQ) |
                           _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  best = _mm512_mask_mov_ps(best, larger, values);
  places = _mm512_mask_mov_epi32(places, larger, _mm512_set1_epi32(place));
}

ADAMANT_AVX512 inline void PoolRowAvx512(const float* upper, const float* lower, int64_t count,
                                         float* out, uint8_t* places) {
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  for (int64_t j = 0; j < count; j += 16) {
    const Lanes lanes(std::min<int64_t>(16, count - j));
    __m512 best = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
    __m512i place = _mm512_setzero_si512();
    for (int row = 0; row < 2; ++row) {
      const float* in = (row == 0 ? upper : lower) + 2 * j;
      const __m512 a = _mm512_maskz_loadu_ps(lanes.first, in);
      const __m512 b = _mm512_maskz_loadu_ps(lanes.second, in + 16);
      TakeLarger(_mm512_permutex2var_ps(a, even, b), 2 * row, best, place);
      TakeLarger(_mm512_permutex2var_ps(a, odd, b), 2 * row + 1, best, place);
    }
    const __mmask16 inactive = _mm512_cmp_ps_mask(best, _mm512_setzero_ps(), _CMP_LE_OQ);
    best = _mm512_mask_mov_ps(best, inactive, _mm512_setzero_ps());
    place = _mm512_mask_add_epi32(place, inactive, place, _mm512_set1_epi32(kInactive));
    _mm512_mask_storeu_ps(out + j, lanes.windows, best);
    if (places != nullptr) _mm512_mask_cvtepi32_storeu_epi8(places + j, lanes.windows, place);
  }
}

ADAMANT_AVX512 inline void SpreadRowAvx512(const float* gradient, const uint8_t* places,
                                           float slope, int64_t count, float* upper, float* lower) {
  const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  for (int64_t j = 0; j < count; j += 16) {
    const Lanes lanes(std::min<int64_t>(16, count - j));
    const __m512i found =
        _mm512_maskz_cvtepu8_epi32(lanes.windows, _mm_maskz_loadu_epi8(lanes.windows, places + j));
    const __mmask16 inactive = _mm512_cmpge_epi32_mask(found, _mm512_set1_epi32(kInactive));
    const __m512i place = _mm512_and_si512(found, _mm512_set1_epi32(kInactive - 1));
    __m512 g = _mm512_maskz_loadu_ps(lanes.windows, gradient + j);
    g = slope == 0 ? _mm512_mask_mov_ps(g, inactive, _mm512_setzero_ps())
                   : _mm512_mask_mul_ps(g, inactive, g, _mm512_set1_ps(slope));
    for (int row = 0; row < 2; ++row) {
      float* out = (row == 0 ? upper : lower) + 2 * j;
      const __m512 a =
          _mm512_maskz_mov_ps(_mm512_cmpeq_epi32_mask(place, _mm512_set1_epi32(2 * row)), g);
      const __m512 b =
          _mm512_maskz_mov_ps(_mm512_cmpeq_epi32_mask(place, _mm512_set1_epi32(2 * row + 1)), g);
      _mm512_mask_storeu_ps(out, lanes.first, _mm512_permutex2var_ps(a, low, b));
      _mm512_mask_storeu_ps(out + 16, lanes.second, _mm512_permutex2var_ps(a, high, b));
    }
  }
}

// One call for many rows: the change between vector widths at a call costs more than a row.
ADAMANT_AVX512 void PoolRowsAvx512(const Rows& rows, int64_t begin, int64_t end, const float* in,
                                   float* out, uint8_t* places) {
  for (int64_t row = begin; row < end; ++row) {
    const float* upper = in + rows.Upper(row);
    const int64_t to = rows.Pooled(row);
    PoolRowAvx512(upper, upper + rows.width, rows.windows(), out + to,
                  places == nullptr ? nullptr : places + to);
  }
}

ADAMANT_AVX512 void SpreadRowsAvx512(const Rows& rows, int64_t begin, int64_t end,
                                     const float* gradient, const uint8_t* places,
                                     const float* slopes, float* out) {
  for (int64_t row = begin; row < end; ++row) {
    float* upper = out + rows.Upper(row);
    const int64_t from = rows.Pooled(row);
    SpreadRowAvx512(gradient + from, places + from, slopes == nullptr ? 0 : slopes[rows.Image(row)],
                    rows.windows(), upper, upper + rows.width);
  }
}

constexpr Kernels kAvx512{PoolRowsAvx512, SpreadRowsAvx512};

const Kernels& BestKernels() {
  static const bool wide = __builtin_cpu_supports("avx512f") &&
                           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return wide ? kAvx512 : kPlain;
}
#else
const Kernels& BestKernels() { return kPlain; }
#endif

void GatherRow(const float* upper, const float* lower, const uint8_t* places, float slope,
               int64_t count, float* out) {
  for (int64_t j = 0; j < count; ++j) {
    const float values[4] = {upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1]};
    const bool inactive = places[j] >= kInactive;
    out[j] = inactive && slope == 0 ? 0 : values[places[j] % kInactive] * (inactive ? slope : 1);
  }
}

std::vector<int64_t> PooledSizes(at::IntArrayRef full) {
  return {full[0], full[1], full[2] / 2, full[3] / 2};
}

at::Tensor Pool(const at::Tensor& x, uint8_t* places) {
  const at::Tensor out = at::empty(PooledSizes(x.sizes()), x.options());
  const Rows rows(x.sizes());
  const auto* in = x.const_data_ptr<float>();
  auto* to = out.data_ptr<float>();
  at::parallel_for(0, rows.count, kRowsPerTask, [&](int64_t begin, int64_t end) {
    BestKernels().pool(rows, begin, end, in, to, places);
  });
  return out;
}

const float* DataOrNull(const at::Tensor& values) {
  return values.defined() ? values.const_data_ptr<float>() : nullptr;
}

at::Tensor Spread(const at::Tensor& gradient, const at::Tensor& places, const at::Tensor& slopes,
                  at::IntArrayRef full) {
  const Rows rows(full);
  const bool even = rows.height % 2 == 0 && rows.width % 2 == 0;
  const at::Tensor out =
      even ? at::empty(full, gradient.options()) : at::zeros(full, gradient.options());
  const at::Tensor dense = gradient.contiguous();
  const auto* in = dense.const_data_ptr<float>();
  const auto* from = places.const_data_ptr<uint8_t>();
  auto* to = out.data_ptr<float>();
  at::parallel_for(0, rows.count, kRowsPerTask, [&](int64_t begin, int64_t end) {
    BestKernels().spread(rows, begin, end, in, from, DataOrNull(slopes), to);
  });
  return out;
}

at::Tensor Gather(const at::Tensor& values, const at::Tensor& places, const at::Tensor& slopes) {
  const at::Tensor out = at::empty(places.sizes(), values.options());
  const Rows rows(values.sizes());
  const at::Tensor dense = values.contiguous();
  const auto* in = dense.const_data_ptr<float>();
  const auto* from = places.const_data_ptr<uint8_t>();
  const float* slope = DataOrNull(slopes);
  auto* to = out.data_ptr<float>();
  at::parallel_for(0, rows.count, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* upper = in + rows.Upper(row);
      const int64_t pooled = rows.Pooled(row);
      GatherRow(upper, upper + rows.width, from + pooled,
                slope == nullptr ? 0 : slope[rows.Image(row)], rows.windows(), to + pooled);
    }
  });
  return out;
}

// Hides a tensor that may be undefined from autograd.
struct Slopes {
  at::Tensor values;
};

// The gradient of ReluMaxPool as a function of the output's gradient: linear, so its own gradient
// gathers what it spread.
struct SpreadFunction : torch::autograd::Function<SpreadFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gradient,
                            const at::Tensor& places, const Slopes& slopes,
                            std::vector<int64_t> full) {
    context->saved_data["places"] = places;
    context->saved_data["slopes"] = slopes.values;
    return Spread(gradient, places, slopes.values, full);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {Gather(gradients[0], context->saved_data["places"].toTensor(),
                   context->saved_data["slopes"].toTensor()),
            at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

struct PoolFunction : torch::autograd::Function<PoolFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Slopes& slopes) {
    const at::Tensor places = at::empty(PooledSizes(x.sizes()), x.options().dtype(at::kByte));
    context->saved_data["places"] = places;
    context->saved_data["slopes"] = slopes.values;
    context->saved_data["full"] = x.sizes().vec();
    return Pool(x, places.data_ptr<uint8_t>());
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {SpreadFunction::apply(gradients[0], context->saved_data["places"].toTensor(),
                                  Slopes{context->saved_data["slopes"].toTensor()},
                                  context->saved_data["full"].toIntVector()),
            at::Tensor()};
  }
};

at::Tensor PerImage(const at::Tensor& slopes, const at::Tensor& x) {
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = slopes.size(0);
  return slopes.view(shape);
}

struct LeakyFunction : torch::autograd::Function<LeakyFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& slopes) {
    const at::Tensor out = at::relu(x);
    context->save_for_backward({out});
    context->saved_data["slopes"] = slopes;
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor out = context->get_saved_variables()[0];
    const at::Tensor slopes = PerImage(context->saved_data["slopes"].toTensor(), out);
    return {at::where(out > 0, gradients[0], gradients[0] * slopes), at::Tensor()};
  }
};

}  // namespace

at::Tensor LeakyBackwardRelu(const at::Tensor& x, const at::Tensor& slopes) {
  return LeakyFunction::apply(x, slopes);
}

at::Tensor ReluMaxPool(const at::Tensor& x, const at::Tensor& slopes) {
  if (x.is_cpu() && x.scalar_type() == at::kBFloat16 && x.dim() == 4) {
    return slopes.defined() ? ReluMaxPool(x.to(at::kFloat), slopes).to(at::kBFloat16)
                            : ReluMaxPoolBf16(x);
  }
  if (!x.is_cpu() || x.scalar_type() != at::kFloat || x.dim() != 4) {
    return at::max_pool2d(slopes.defined() ? LeakyBackwardRelu(x, slopes) : at::relu(x), {2, 2});
  }
  const at::Tensor dense = x.contiguous();
  if (!at::GradMode::is_enabled() || !x.requires_grad()) return Pool(dense, nullptr);
  return PoolFunction::apply(dense, Slopes{slopes});
}

}  // namespace adamant
