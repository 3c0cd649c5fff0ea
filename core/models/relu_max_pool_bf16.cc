// SPDX-License-Identifier: Apache-2.0
// bfloat16 numbers above 0 are ordered as their bits, and those below have the sign bit set: relu
// and maximum are integer operations, 32 channels at a time.
#include "core/models/relu_max_pool_bf16.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/base/torch.h"

namespace adamant {
namespace {

#if defined(__x86_64__)
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

#define ADAMANT_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))

constexpr int64_t kLanes = 32;
constexpr int kPixels = 4;  // of a window, row by row: places 0..3
constexpr int kNowhere = 4;
constexpr int64_t kWindowsPerTask = 4096;

// The windows of [N,H,W,C], counted through.
struct Windows {
  explicit Windows(const at::Tensor& x)
      : channels(x.size(1)),
        height(x.size(2)),
        width(x.size(3)),
        count(x.size(0) * (height / 2) * (width / 2)) {}

  // Offset of the upper left pixel.
  int64_t Corner(int64_t window) const {
    const int64_t column = window % (width / 2);
    const int64_t row = window / (width / 2);
    const int64_t image = row / (height / 2);
    return ((image * height + 2 * (row % (height / 2))) * width + 2 * column) * channels;
  }
  int64_t Pixel(int k) const { return ((k / 2) * width + k % 2) * channels; }

  int64_t channels, height, width, count;
};

ADAMANT_AVX512 inline __mmask32 FirstLanes(int64_t count) {
  return count >= kLanes ? ~__mmask32{0} : (__mmask32{1} << count) - 1;
}

ADAMANT_AVX512 void Pool(const Windows& windows, int64_t begin, int64_t end, const uint16_t* in,
                         uint16_t* out, uint8_t* places) {
  for (int64_t window = begin; window < end; ++window) {
    const uint16_t* corner = in + windows.Corner(window);
    const int64_t to = window * windows.channels;
    for (int64_t c = 0; c < windows.channels; c += kLanes) {
      const __mmask32 lanes = FirstLanes(windows.channels - c);
      __m512i best = _mm512_setzero_si512();
      __m512i place = _mm512_set1_epi16(kNowhere);
      for (int k = 0; k < kPixels; ++k) {
        const __m512i value = _mm512_maskz_loadu_epi16(lanes, corner + windows.Pixel(k) + c);
        const __mmask32 larger = _mm512_cmpgt_epi16_mask(value, best);
        best = _mm512_mask_mov_epi16(best, larger, value);
        place = _mm512_mask_mov_epi16(place, larger, _mm512_set1_epi16(static_cast<int16_t>(k)));
      }
      _mm512_mask_storeu_epi16(out + to + c, lanes, best);
      _mm512_mask_cvtepi16_storeu_epi8(places + to + c, lanes, place);
    }
  }
}

ADAMANT_AVX512 void Spread(const Windows& windows, int64_t begin, int64_t end,
                           const uint16_t* gradient, const uint8_t* places, uint16_t* out) {
  for (int64_t window = begin; window < end; ++window) {
    uint16_t* corner = out + windows.Corner(window);
    const int64_t from = window * windows.channels;
    for (int64_t c = 0; c < windows.channels; c += kLanes) {
      const __mmask32 lanes = FirstLanes(windows.channels - c);
      const __m512i g = _mm512_maskz_loadu_epi16(lanes, gradient + from + c);
      const __m512i place = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(lanes, places + from + c));
      for (int k = 0; k < kPixels; ++k) {
        const __mmask32 here =
            _mm512_cmpeq_epi16_mask(place, _mm512_set1_epi16(static_cast<int16_t>(k)));
        _mm512_mask_storeu_epi16(corner + windows.Pixel(k) + c, lanes,
                                 _mm512_maskz_mov_epi16(here, g));
      }
    }
  }
}

const uint16_t* Bits(const at::Tensor& x) {
  return static_cast<const uint16_t*>(x.const_data_ptr());
}

at::Tensor EmptyLast(at::IntArrayRef sizes, const at::TensorOptions& options) {
  return at::empty(sizes, options, at::MemoryFormat::ChannelsLast);
}

struct PoolFunction : torch::autograd::Function<PoolFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    const Windows windows(x);
    const std::vector<int64_t> pooled = {x.size(0), x.size(1), x.size(2) / 2, x.size(3) / 2};
    const at::Tensor out = EmptyLast(pooled, x.options());
    const at::Tensor places = EmptyLast(pooled, x.options().dtype(at::kByte));
    at::parallel_for(0, windows.count, kWindowsPerTask, [&](int64_t begin, int64_t end) {
      Pool(windows, begin, end, Bits(x), static_cast<uint16_t*>(out.data_ptr()),
           places.data_ptr<uint8_t>());
    });
    context->saved_data["places"] = places;
    context->saved_data["full"] = x.sizes().vec();
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "a search in bf16 has no gradients of gradients; use fp32 for this attack");
    const std::vector<int64_t> full = context->saved_data["full"].toIntVector();
    const at::Tensor places = context->saved_data["places"].toTensor();
    const at::Tensor gradient = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor out = EmptyLast(full, gradient.options());
    if (full[2] % 2 != 0 || full[3] % 2 != 0) out.zero_();
    const Windows windows(out);
    at::parallel_for(0, windows.count, kWindowsPerTask, [&](int64_t begin, int64_t end) {
      Spread(windows, begin, end, Bits(gradient), places.const_data_ptr<uint8_t>(),
             static_cast<uint16_t*>(out.data_ptr()));
    });
    return {out};
  }
};

bool HasAvx512() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl");
  return has;
}
#endif

}  // namespace

at::Tensor ReluMaxPoolBf16(const at::Tensor& x) {
#if defined(__x86_64__)
  if (HasAvx512()) return PoolFunction::apply(x.contiguous(at::MemoryFormat::ChannelsLast));
#endif
  return at::max_pool2d(at::relu(x), {2, 2});
}

}  // namespace adamant
