// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace adamant::testing {

// Folder of the real inputs (ADAMANT_TEST_DATA, else ../shared/data beside the repository), "" when
// it is absent.
std::string TestDataFolder();

// Skips the test when the real inputs are absent.
#define REQUIRE_TEST_DATA()                                                           \
  do {                                                                                \
    if (::adamant::testing::TestDataFolder().empty()) {                               \
      GTEST_SKIP() << "needs the real inputs: set ADAMANT_TEST_DATA to their folder"; \
    }                                                                                 \
  } while (false)

}  // namespace adamant::testing
