// SPDX-License-Identifier: Apache-2.0
#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "client/cli/command.h"

namespace {

bool IsDumb() {
  const char* term = std::getenv("TERM");
  return term == nullptr || std::string(term) == "dumb";
}

// 0 when standard error is no terminal that can redraw a line.
int BarWidth() {
  if (isatty(STDERR_FILENO) == 0 || IsDumb()) return 0;
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool WantsColour() {
  const char* no_colour = std::getenv("NO_COLOR");
  return isatty(STDERR_FILENO) != 0 && !IsDumb() && (no_colour == nullptr || no_colour[0] == '\0');
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);  // errors are ours to tell
  adamant::Interrupt interrupt;
  const bool can_ask = isatty(STDIN_FILENO) != 0 && isatty(STDERR_FILENO) != 0;
  return adamant::RunCli(std::vector<std::string>(argv + 1, argv + argc),
                         {.out = std::cout,
                          .err = std::cerr,
                          .bar_width = BarWidth(),
                          .out_terminal = isatty(STDOUT_FILENO) != 0,
                          .colour = WantsColour(),
                          .in = can_ask ? &std::cin : nullptr},
                         &interrupt);
}
