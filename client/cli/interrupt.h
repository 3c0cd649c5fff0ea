// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "client/cancel.h"

namespace adamant {

// Ctrl-C. Without a Listen in progress it ends the process with 130 at once. With one it cancels
// the token, and a second Ctrl-C ends the process. Make it before any other thread exists: SIGINT
// stays blocked in all threads but its own. Thread-safe.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();

  // While it lives, the first Ctrl-C cancels token().
  class Listen {
   public:
    explicit Listen(Interrupt* interrupt) : interrupt_(interrupt) {
      if (interrupt_ != nullptr) ++interrupt_->listeners_;
    }
    ~Listen() {
      if (interrupt_ != nullptr) --interrupt_->listeners_;
    }
    Listen(const Listen&) = delete;
    Listen& operator=(const Listen&) = delete;
    CancelToken* token() { return interrupt_ == nullptr ? nullptr : &interrupt_->token_; }

   private:
    Interrupt* const interrupt_;
  };

 private:
  void Run();

  CancelToken token_;
  std::atomic<int> listeners_ = 0;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace adamant
