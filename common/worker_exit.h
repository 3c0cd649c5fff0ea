// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace adamant {

// Exit codes of adamant-worker (service.md 9.2); 0 = a Result frame was sent.
enum WorkerExit {
  kExitProtocol = 64,
  kExitData = 65,
  kExitInternal = 70,
  kExitOutOfMemory = 71,
  kExitDevice = 72,
  kExitNumerical = 73,
  kExitSandbox = 74,  // the launcher could not isolate or execute the worker
};

}  // namespace adamant
