// SPDX-License-Identifier: Apache-2.0
#include "client/cli/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "client/cli/exit_code.h"

namespace adamant {
namespace {

sigset_t Signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGUSR1);  // ends the thread
  return set;
}

}  // namespace

Interrupt::Interrupt() {
  const sigset_t set = Signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this] { Run(); });
}

Interrupt::~Interrupt() {
  stopping_ = true;
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

void Interrupt::Run() {
  const sigset_t set = Signals();
  while (!stopping_) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0 || signal != SIGINT) continue;
    if (listeners_ == 0 || token_.cancelled()) _exit(kExitInterrupted);
    token_.Cancel();
  }
}

}  // namespace adamant
