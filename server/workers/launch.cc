// SPDX-License-Identifier: Apache-2.0
#include "server/workers/launch.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/worker_exit.h"

namespace adamant {
namespace {

constexpr unsigned kFirstClosedDescriptor = 4;  // 3 is the channel
constexpr rlim_t kOpenFiles = 64;

struct LaunchOptions {
  int threads = 1;
  pid_t parent = 0;
  std::vector<std::string> worker;  // path, then its arguments
};

bool ParseOptions(const std::vector<std::string>& arguments, LaunchOptions& options) {
  size_t next = 0;
  for (; next < arguments.size() && absl::StartsWith(arguments[next], "--"); ++next) {
    absl::string_view value = arguments[next];
    const bool valid =
        absl::ConsumePrefix(&value, "--threads=")
            ? absl::SimpleAtoi(value, &options.threads)
            : absl::ConsumePrefix(&value, "--parent=") && absl::SimpleAtoi(value, &options.parent);
    if (!valid) return false;
  }
  options.worker.assign(arguments.begin() + static_cast<ptrdiff_t>(next), arguments.end());
  return !options.worker.empty() && options.threads > 0;
}

bool SetLimit(__rlimit_resource resource, rlim_t value) {
  const rlimit limit{value, value};
  return setrlimit(resource, &limit) == 0;
}

// The first step that fails, or "".
const char* Prepare(const LaunchOptions& options) {
  if (close_range(kFirstClosedDescriptor, ~0U, 0) != 0) return "close_range";
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return "no_new_privs";
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return "death signal";
  if (options.parent != 0 && getppid() != options.parent) return "the server is gone";
  if (!SetLimit(RLIMIT_NOFILE, kOpenFiles) || !SetLimit(RLIMIT_CORE, 0)) return "limits";
  return "";
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

int RunLauncher(const std::vector<std::string>& arguments) {
  LaunchOptions options;
  if (!ParseOptions(arguments, options)) {
    std::fputs("usage: --launch [--threads=N] [--parent=PID] WORKER\n", stderr);
    return 2;
  }
  if (const char* failed = Prepare(options); *failed != '\0') {
    std::fprintf(stderr, "the worker cannot be isolated: %s\n", failed);
    return kExitSandbox;
  }
  std::vector<std::string> environment = {
      "PATH=/usr/bin:/bin",
      "LANG=C.UTF-8",
      absl::StrCat("OMP_NUM_THREADS=", options.threads),
      absl::StrCat("MKL_NUM_THREADS=", options.threads),
      "OMP_WAIT_POLICY=passive",
      "CUBLAS_WORKSPACE_CONFIG=:4096:8",
  };
#ifdef ADAMANT_FAILPOINTS
  for (const char* name : {"ADAMANT_FAILPOINTS", "ADAMANT_FAILPOINT_LOG"}) {
    if (const char* value = std::getenv(name); value != nullptr)
      environment.push_back(absl::StrCat(name, "=", value));
  }
#endif
  execve(options.worker[0].c_str(), Pointers(options.worker).data(), Pointers(environment).data());
  std::perror("the worker cannot be executed");
  return kExitSandbox;
}

}  // namespace adamant
