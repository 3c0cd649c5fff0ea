// SPDX-License-Identifier: Apache-2.0
#include "tests/support/slowdown.h"

namespace adamant::testing {

#ifdef ADAMANT_SANITIZED
int Slowdown() { return 5; }
#else
int Slowdown() { return 1; }
#endif

}  // namespace adamant::testing
