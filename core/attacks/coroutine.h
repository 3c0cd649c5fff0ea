// SPDX-License-Identifier: Apache-2.0
// The coroutine type of script.h: what C++ asks for, nothing about attacks.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

namespace adamant {

// A script, or a part of one that others co_await. Owns the coroutine; an exception inside reaches
// who awaits it.
class Script {
 public:
  struct promise_type {
    struct Final {
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(
          std::coroutine_handle<promise_type> done) const noexcept {
        const std::coroutine_handle<> next = done.promise().next;
        return next ? next : std::noop_coroutine();
      }
      void await_resume() const noexcept {}
    };

    Script get_return_object() {
      return Script(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    Final final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() { error = std::current_exception(); }

    std::coroutine_handle<> next;  // who awaits this one
    std::exception_ptr error;
  };
  using Handle = std::coroutine_handle<promise_type>;

  Script() = default;
  explicit Script(Handle handle) : handle_(handle) {}
  Script(Script&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Script& operator=(Script&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Script() {
    if (handle_) handle_.destroy();
  }

  Handle handle() const { return handle_; }
  bool done() const { return handle_.done(); }
  void Rethrow() const {
    if (handle_.promise().error) std::rethrow_exception(handle_.promise().error);
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) const noexcept {
    handle_.promise().next = caller;
    return handle_;
  }
  void await_resume() const { Rethrow(); }

 private:
  Handle handle_;
};

}  // namespace adamant
