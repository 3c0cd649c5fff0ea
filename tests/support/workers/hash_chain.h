// SPDX-License-Identifier: Apache-2.0
// The training of the fault tests: a chain of hashes, so that the result is a pure function of the
// spec. A lost or repeated step, a checkpoint of another job and a mixed-up result all show.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/sha256.h"

namespace adamant::testing {

// A training with at least this seed is a chain of `steps` links. A link takes `batch_size`
// milliseconds; every `checkpoint.every_steps` links come a metric "chain", a log line and a
// checkpoint.
inline constexpr uint64_t kChainSeed = 1000;

struct Chain {
  int64_t step = 0;
  std::string state;  // 64 hex digits
};

inline Chain StartOfChain(uint64_t seed) { return {0, Sha256Hex(absl::StrCat("seed ", seed))}; }

inline void NextLink(Chain& chain) {
  ++chain.step;
  chain.state = Sha256Hex(absl::StrCat(chain.state, " ", chain.step));
}

inline Chain ChainAt(uint64_t seed, int64_t steps) {
  Chain chain = StartOfChain(seed);
  while (chain.step < steps) NextLink(chain);
  return chain;
}

// What the metric "chain" says: the first 48 bits, which a double holds exactly.
inline double MetricOf(const Chain& chain) {
  uint64_t bits = 0;
  absl::SimpleHexAtoi(chain.state.substr(0, 12), &bits);
  return static_cast<double>(bits);
}

// The bytes of a checkpoint and of the final weights.
inline std::string TextOf(const Chain& chain) { return absl::StrCat(chain.step, " ", chain.state); }

inline bool ParseChain(const std::string& text, Chain& chain) {
  const size_t space = text.find(' ');
  if (space == std::string::npos || !absl::SimpleAtoi(text.substr(0, space), &chain.step))
    return false;
  chain.state = text.substr(space + 1);
  return chain.state.size() == 64;
}

}  // namespace adamant::testing
