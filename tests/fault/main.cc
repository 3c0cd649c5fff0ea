// SPDX-License-Identifier: Apache-2.0
// fault_test [--seed=N] [--rounds=N] [--evidence=FOLDER] [GoogleTest flags]
#include <gtest/gtest.h>

#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "tests/fault/settings.h"

namespace adamant::testing {
namespace {

Settings settings;

bool Parse(absl::string_view flag) {
  if (absl::ConsumePrefix(&flag, "--seed=")) return absl::SimpleAtoi(flag, &settings.seed);
  if (absl::ConsumePrefix(&flag, "--rounds=")) return absl::SimpleAtoi(flag, &settings.rounds);
  if (!absl::ConsumePrefix(&flag, "--evidence=")) return false;
  settings.evidence = std::string(flag);
  return true;
}

}  // namespace

const Settings& TheSettings() { return settings; }

int RoundsOr(int short_default) { return settings.rounds > 0 ? settings.rounds : short_default; }

}  // namespace adamant::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (adamant::testing::Parse(argv[i])) continue;
    std::fprintf(stderr, "fault_test: unknown flag %s\n", argv[i]);
    return 2;
  }
  return RUN_ALL_TESTS();
}
