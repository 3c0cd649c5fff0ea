// SPDX-License-Identifier: Apache-2.0
// The only source of randomness: Philox4x32-10 (Salmon et al. 2011), counter-based and stateless. A
// draw is a function of (seed, stream, sample id) and of its place (step, restart, target, purpose,
// draw), so results depend neither on batch size nor on order, sharding or resume.
#pragma once

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace adamant {

using PhiloxKey = std::array<uint32_t, 2>;
using PhiloxCounter = std::array<uint32_t, 4>;

// One block of four words.
PhiloxCounter Philox(PhiloxCounter counter, PhiloxKey key);

enum class Purpose : uint16_t {
  kStart = 0,
  kTarget = 1,
  kTransform = 2,
  kNoise = 3,
  kWindow = 4,
  kDirection = 5,
  kModelNoise = 6,
  kVerification = 7,
  kTest = 15,
};

// The place of a draw within its stream.
struct DrawAt {
  uint32_t step = 0;
  uint16_t restart = 0;
  uint16_t target_slot = 0;
  Purpose purpose = Purpose::kStart;
  uint16_t draw = 0;
};

// The stream of one sample: key = first 8 bytes of SHA-256("adamant-rng-1" || seed || length of
// stream || stream || sample_id), integers little-endian. Immutable, thread-safe.
class Rng {
 public:
  Rng(uint64_t seed, absl::string_view stream, int64_t sample_id);

  void Words(const DrawAt& at, absl::Span<uint32_t> out) const;
  void Uniform(const DrawAt& at, absl::Span<float> out) const;      // [0,1): (w >> 8) * 2^-24
  void UniformOpen(const DrawAt& at, absl::Span<float> out) const;  // (0,1): ... + 2^-25
  void Signs(const DrawAt& at, absl::Span<float> out) const;        // -1 or +1, top bit set is -1
  void Normal(const DrawAt& at, absl::Span<float> out) const;       // Box-Muller in double
  uint32_t Below(const DrawAt& at, uint32_t n) const;               // [0,n): (u64(w) * n) >> 32
  // A uniform permutation of 0..n-1 (Fisher-Yates over the words of this place).
  void Permutation(const DrawAt& at, absl::Span<int64_t> out) const;

  PhiloxKey key() const { return key_; }

 private:
  PhiloxKey key_;
};

}  // namespace adamant
