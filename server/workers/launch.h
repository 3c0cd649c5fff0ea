// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace adamant {

// How a worker is started. The command line of the launcher is
//   <launcher...> --threads=N --parent=PID <worker> [worker arguments]
struct WorkerCommand {
  std::vector<std::string> launcher;  // e.g. {"/usr/bin/adamantd", "--launch"}
  std::string worker;                 // path of adamant-worker
  int threads = 1;                    // OMP_NUM_THREADS
};

// The mode `adamantd --launch`: `arguments` are those behind "--launch". Prepares this process
// (only descriptors 0 to 3, a fixed environment, no new privileges, death with the parent, limits)
// and becomes the worker. Returns an exit code only when that failed: 74, or 2 for bad arguments.
// Must run before any thread is started.
int RunLauncher(const std::vector<std::string>& arguments);

}  // namespace adamant
