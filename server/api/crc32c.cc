// SPDX-License-Identifier: Apache-2.0
#include "server/api/crc32c.h"

#ifdef __x86_64__
#include <nmmintrin.h>
#endif

#include <array>
#include <cstring>

namespace adamant {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // reflected

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit)
      value = (value & 1) != 0 ? (value >> 1) ^ kPolynomial : value >> 1;
    table[i] = value;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = MakeTable();

uint32_t ExtendByTable(uint32_t crc, absl::string_view bytes) {
  for (const char c : bytes) crc = kTable[(crc ^ static_cast<uint8_t>(c)) & 0xFF] ^ (crc >> 8);
  return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) uint32_t ExtendByInstruction(uint32_t crc,
                                                               absl::string_view bytes) {
  uint64_t wide = crc;
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    uint64_t word;
    std::memcpy(&word, bytes.data(), sizeof(word));
    wide = _mm_crc32_u64(wide, word);
  }
  return ExtendByTable(static_cast<uint32_t>(wide), bytes);
}

uint32_t Extend(uint32_t crc, absl::string_view bytes) {
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  return has_instruction ? ExtendByInstruction(crc, bytes) : ExtendByTable(crc, bytes);
}
#else
uint32_t Extend(uint32_t crc, absl::string_view bytes) { return ExtendByTable(crc, bytes); }
#endif

}  // namespace

uint32_t Crc32c(absl::Span<const absl::string_view> pieces) {
  uint32_t crc = 0xFFFFFFFF;
  for (const absl::string_view piece : pieces) crc = Extend(crc, piece);
  return ~crc;
}

}  // namespace adamant
