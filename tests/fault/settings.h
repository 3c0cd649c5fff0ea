// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace adamant::testing {

// The flags of fault_test, beside those of GoogleTest.
struct Settings {
  uint64_t seed = 1;     // --seed: of all random choices of a test
  int rounds = 0;        // --rounds: size of the test; 0 = its short default
  std::string evidence;  // --evidence: folder that keeps histories and failpoint logs
};

const Settings& TheSettings();
// `rounds` of the command line, or the default.
int RoundsOr(int short_default);

}  // namespace adamant::testing
