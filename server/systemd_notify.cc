// SPDX-License-Identifier: Apache-2.0
#include "server/systemd_notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>

#include "common/files.h"
#include "server/telemetry/log.h"

namespace adamant {

SystemdNotify::SystemdNotify() {
  if (const char* const socket = std::getenv("NOTIFY_SOCKET")) socket_ = socket;
  unsetenv("NOTIFY_SOCKET");
}

void SystemdNotify::Ready() const { Send("READY=1\nSTATUS=serving"); }

void SystemdNotify::Stopping() const { Send("STOPPING=1\nSTATUS=draining"); }

void SystemdNotify::Send(absl::string_view state) const {
  if (socket_.empty()) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof(address.sun_path)) {
    Log(LogLevel::kWarning, "systemd", "NOTIFY_SOCKET is too long to be a socket");
    return;
  }
  std::copy(socket_.begin(), socket_.end(), address.sun_path);
  if (socket_[0] == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  const Descriptor fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto* const peer = reinterpret_cast<const sockaddr*>(&address);
  if (fd.get() < 0 || sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL, peer, size) < 0)
    Log(LogLevel::kWarning, "systemd", "the service manager was not told: check NOTIFY_SOCKET");
}

}  // namespace adamant
