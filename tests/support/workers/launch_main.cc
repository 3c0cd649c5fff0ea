// SPDX-License-Identifier: Apache-2.0
// `adamantd --launch` without the rest of adamantd.
#include <string>
#include <vector>

#include "server/workers/launch.h"

int main(int argc, char** argv) {
  return adamant::RunLauncher(std::vector<std::string>(argv + 1, argv + argc));
}
