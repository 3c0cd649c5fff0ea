// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace adamant::testing {

// By how much to stretch a limit that must not end before a program has started: 5 under a
// sanitizer (start-up and the first calls take about that much longer), else 1.
int Slowdown();

}  // namespace adamant::testing
