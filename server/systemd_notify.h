// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace adamant {

// Tells systemd (Type=notify) where the service stands, over the socket of NOTIFY_SOCKET; without
// one it does nothing. See sd_notify(3).
class SystemdNotify {
 public:
  // Takes NOTIFY_SOCKET out of the environment, so that workers do not inherit it: construct before
  // other threads start.
  SystemdNotify();

  void Ready() const;
  void Stopping() const;

 private:
  void Send(absl::string_view state) const;

  std::string socket_;  // path, or "@name" in the abstract namespace; empty = none
};

}  // namespace adamant
