// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <functional>
#include <utility>

namespace adamant {

// Thrown by RunControl::Check after a stop request; only the engine catches it.
class Stopped : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped on request"; }
};

// Cancellation and progress of one piece of work. Check() before every network call; nothing else
// may poll. Not thread-safe, but the stop function may read state that another thread sets.
class RunControl {
 public:
  RunControl() = default;
  explicit RunControl(std::function<bool()> stop_requested, std::function<void()> tick = {})
      : stop_requested_(std::move(stop_requested)), tick_(std::move(tick)) {}

  // Throws Stopped when a stop was requested; otherwise tells the watchdog that work goes on.
  void Check() const {
    if (stop_requested_ && stop_requested_()) throw Stopped();
    if (tick_) tick_();
  }

 private:
  std::function<bool()> stop_requested_;
  std::function<void()> tick_;
};

}  // namespace adamant
