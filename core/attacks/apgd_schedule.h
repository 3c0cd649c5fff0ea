// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace adamant {

// Lengths of APGD's windows for `steps` steps: max(int(.22 N), 1), each max(int(.03 N), 1) shorter
// than the one before, at least max(int(.06 N), 1). Their sum is at least `steps`.
std::vector<int64_t> ApgdWindows(int64_t steps);

}  // namespace adamant
