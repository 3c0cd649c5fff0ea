// SPDX-License-Identifier: Apache-2.0
#include <google/protobuf/text_format.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "absl/synchronization/mutex.h"
#include "server/daemon.h"
#include "server/options.h"
#include "server/workers/launch.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--launch") == 0)
    return adamant::RunLauncher(std::vector<std::string>(argv + 2, argv + argc));
  const absl::StatusOr<adamant::Options> options = adamant::ParseOptions(argc, argv);
  if (!options.ok()) {
    std::fprintf(stderr, "adamantd: %s\n", std::string(options.status().message()).c_str());
    return adamant::kExitConfiguration;
  }
  switch (options->action) {
    case adamant::Options::Action::kHelp:
      std::printf("%s", options->help.c_str());
      return 0;
    case adamant::Options::Action::kVersion:
      adamant::PrintVersions();
      return 0;
    case adamant::Options::Action::kPrintConfig: {
      std::string text;
      google::protobuf::TextFormat::PrintToString(options->config, &text);
      std::printf("%s", text.c_str());
      return 0;
    }
    case adamant::Options::Action::kCheck:
      return adamant::CheckDaemon(options->config);
    case adamant::Options::Action::kServe:
      // Distributions build Abseil so that every lock, gRPC's as well, looks for cycles. Tests run
      // the same classes in their own process, where that stays on.
      absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
      return adamant::RunDaemon(options->config);
  }
}
