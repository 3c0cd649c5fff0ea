// SPDX-License-Identifier: Apache-2.0
#include "tests/support/test_data.h"

#include <cstdlib>
#include <filesystem>

namespace adamant::testing {

std::string TestDataFolder() {
  const char* given = std::getenv("ADAMANT_TEST_DATA");
  const std::string folder = given != nullptr ? given : ADAMANT_TEST_DATA_DEFAULT;
  return std::filesystem::exists(folder + "/checkpoints/index.json") ? folder : "";
}

}  // namespace adamant::testing
