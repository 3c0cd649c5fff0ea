// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace adamant {

// Exit codes of adamant-worker (service.md 9.2); 0 = a Result frame was sent.
constexpr int kExitProtocol = 64;
constexpr int kExitInternal = 70;
constexpr int kExitOutOfMemory = 71;

}  // namespace adamant
