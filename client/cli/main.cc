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

// 0 when standard error is no terminal that can redraw a line.
int BarWidth() {
  const char* term = std::getenv("TERM");
  if (isatty(STDERR_FILENO) == 0 || term == nullptr || std::string(term) == "dumb") return 0;
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  adamant::Interrupt interrupt;
  return adamant::RunCli(std::vector<std::string>(argv + 1, argv + argc),
                         {.out = std::cout, .err = std::cerr, .bar_width = BarWidth()}, &interrupt);
}
