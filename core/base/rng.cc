// SPDX-License-Identifier: Apache-2.0
#include "core/base/rng.h"

#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "common/sha256.h"

namespace adamant {
namespace {

constexpr double kTwoPi = 6.283185307179586476925286766559;

PhiloxCounter Round(const PhiloxCounter& c, const PhiloxKey& key) {
  const uint64_t p0 = uint64_t{0xD2511F53} * c[0];
  const uint64_t p1 = uint64_t{0xCD9E8D57} * c[2];
  return {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(p1),
          static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(p0)};
}

PhiloxCounter CounterAt(const DrawAt& at, uint32_t block) {
  return {block, at.step, uint32_t{at.restart} << 16 | at.target_slot,
          static_cast<uint32_t>(at.purpose) << 16 | at.draw};
}

void AppendLittleEndian(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
}

// Calls use(i, word) for the first n words of this place.
template <class Use>
void ForEachWord(const DrawAt& at, const PhiloxKey& key, size_t n, Use use) {
  for (size_t i = 0; i < n; i += 4) {
    const PhiloxCounter words = Philox(CounterAt(at, static_cast<uint32_t>(i / 4)), key);
    for (size_t j = 0; j < 4 && i + j < n; ++j) use(i + j, words[j]);
  }
}

float Unit(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

// Two normals from two words, in double, as Box and Muller.
std::pair<double, double> BoxMuller(uint32_t a, uint32_t b) {
  const double radius = std::sqrt(-2.0 * std::log((a >> 8) * 0x1p-24 + 0x1p-25));
  const double angle = kTwoPi * ((b >> 8) * 0x1p-24 + 0x1p-25);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace

PhiloxCounter Philox(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    counter = Round(counter, key);
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

Rng::Rng(uint64_t seed, absl::string_view stream, int64_t sample_id) {
  std::string text = "adamant-rng-1";
  AppendLittleEndian(text, seed, 8);
  AppendLittleEndian(text, stream.size(), 4);
  text.append(stream.data(), stream.size());
  AppendLittleEndian(text, static_cast<uint64_t>(sample_id), 8);
  const Sha256::Digest digest = Sha256Of(text);
  for (int word = 0; word < 2; ++word) {
    key_[word] = 0;
    for (int i = 0; i < 4; ++i) key_[word] |= uint32_t{digest[4 * word + i]} << (8 * i);
  }
}

void Rng::Words(const DrawAt& at, absl::Span<uint32_t> out) const {
  ForEachWord(at, key_, out.size(), [&](size_t i, uint32_t w) { out[i] = w; });
}

void Rng::Uniform(const DrawAt& at, absl::Span<float> out) const {
  ForEachWord(at, key_, out.size(), [&](size_t i, uint32_t w) { out[i] = Unit(w); });
}

void Rng::UniformOpen(const DrawAt& at, absl::Span<float> out) const {
  ForEachWord(at, key_, out.size(), [&](size_t i, uint32_t w) { out[i] = Unit(w) + 0x1p-25f; });
}

void Rng::Signs(const DrawAt& at, absl::Span<float> out) const {
  ForEachWord(at, key_, out.size(),
              [&](size_t i, uint32_t w) { out[i] = (w >> 31) != 0 ? -1.0f : 1.0f; });
}

void Rng::Normal(const DrawAt& at, absl::Span<float> out) const {
  for (size_t i = 0; i < out.size(); i += 4) {
    const PhiloxCounter w = Philox(CounterAt(at, static_cast<uint32_t>(i / 4)), key_);
    const auto [a, b] = BoxMuller(w[0], w[1]);
    const auto [c, d] = BoxMuller(w[2], w[3]);
    const double values[4] = {a, b, c, d};
    for (size_t j = 0; j < 4 && i + j < out.size(); ++j) out[i + j] = static_cast<float>(values[j]);
  }
}

uint32_t Rng::Below(const DrawAt& at, uint32_t n) const {
  return static_cast<uint32_t>(uint64_t{Philox(CounterAt(at, 0), key_)[0]} * n >> 32);
}

void Rng::Permutation(const DrawAt& at, absl::Span<int64_t> out) const {
  std::iota(out.begin(), out.end(), int64_t{0});
  std::vector<uint32_t> words(out.size());
  Words(at, absl::MakeSpan(words));
  for (size_t i = out.size(); i > 1; --i) {
    std::swap(out[i - 1], out[uint64_t{words[i - 1]} * i >> 32]);
  }
}

}  // namespace adamant
