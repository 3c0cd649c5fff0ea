// SPDX-License-Identifier: Apache-2.0
#include "server/systemd_notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>

#include "common/files.h"
#include "tests/support/temporary_folder.h"

namespace adamant {
namespace {

// Binds a datagram socket, as the service manager does. `name` may begin with '@'.
Descriptor Bind(const std::string& name) {
  Descriptor fd(socket(AF_UNIX, SOCK_DGRAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (name[0] == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  return fd;
}

std::string Receive(const Descriptor& fd) {
  char buffer[256];
  const ssize_t got = recv(fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
  return got < 0 ? "" : std::string(buffer, static_cast<size_t>(got));
}

TEST(SystemdNotify, SaysWhenItIsReadyAndWhenItStops) {
  const testing::TemporaryFolder folder;
  for (const std::string& name :
       {(folder.path() + "/notify"), "@adamant-test-" + std::to_string(getpid())}) {
    const Descriptor manager = Bind(name);
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
    const SystemdNotify notify;
    EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr) << "workers must not inherit it";
    EXPECT_EQ(Receive(manager), "");
    notify.Ready();
    EXPECT_EQ(Receive(manager), "READY=1\nSTATUS=serving");
    notify.Stopping();
    EXPECT_EQ(Receive(manager), "STOPPING=1\nSTATUS=draining");
  }
}

TEST(SystemdNotify, IsSilentWithoutAManager) {
  unsetenv("NOTIFY_SOCKET");
  SystemdNotify().Ready();
}

}  // namespace
}  // namespace adamant
