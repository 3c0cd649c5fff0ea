// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "adamant/v1/system.pb.h"

namespace adamant {

// Exit codes of adamantd.
enum ExitCode {
  kExitDrained = 0,
  kExitStartFailed = 1,
  kExitConfiguration = 2,
  kExitDataFolderInUse = 3,
  kExitAddressInUse = 4,
  kExitStoreFailed = 75,
};

// Runs the server until a signal has drained it; returns an exit code. Must be called from the main
// thread before any other exists: it blocks the signals that it then waits for.
int RunDaemon(const v1::ServerConfig& config);

// `--check`: configuration, data folder and worker, one line each on stdout. kExitDrained or
// kExitConfiguration.
int CheckDaemon(const v1::ServerConfig& config);

// `--version`: this program and its libraries, one line each on stdout.
void PrintVersions();

}  // namespace adamant
