// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace adamant::testing {
namespace {

sockaddr_in Parse(const std::string& address) {
  sockaddr_in parsed{};
  const size_t colon = address.rfind(':');
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(colon + 1), &port)) << address;
  parsed.sin_family = AF_INET;
  parsed.sin_port = htons(static_cast<uint16_t>(port));
  EXPECT_EQ(inet_pton(AF_INET, address.substr(0, colon).c_str(), &parsed.sin_addr), 1) << address;
  return parsed;
}

Descriptor Socket() { return Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

// Moves what is there; the number of bytes, <= 0 at the end.
ssize_t Move(int from, int to) {
  char buffer[16 << 10];
  const ssize_t size = recv(from, buffer, sizeof(buffer), 0);
  for (ssize_t sent = 0; sent < size;) {
    const ssize_t more = send(to, buffer + sent, static_cast<size_t>(size - sent), MSG_NOSIGNAL);
    if (more <= 0) return -1;
    sent += more;
  }
  return size;
}

}  // namespace

TcpProxy::TcpProxy(const std::string& target, int64_t cut_after)
    : target_(target), listener_(Socket()), cut_after_(cut_after) {
  sockaddr_in bound = Parse("127.0.0.1:0");
  socklen_t size = sizeof(bound);
  EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&bound), size), 0);
  EXPECT_EQ(listen(listener_.get(), 64), 0);
  EXPECT_EQ(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&bound), &size), 0);
  address_ = absl::StrCat("127.0.0.1:", ntohs(bound.sin_port));
  acceptor_ = std::thread([this] { Accept(); });
}

TcpProxy::~TcpProxy() {
  stopping_ = true;
  shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  Cut();
  std::list<std::thread> threads;
  {
    absl::MutexLock lock(&mutex_);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

void TcpProxy::Cut() {
  absl::MutexLock lock(&mutex_);
  for (Connection& connection : connections_) Break(connection);
}

// The descriptors stay open until the proxy goes, so that none is reused under a thread.
void TcpProxy::Break(Connection& connection) {
  shutdown(connection.client.get(), SHUT_RDWR);
  shutdown(connection.server.get(), SHUT_RDWR);
}

void TcpProxy::Accept() {
  while (!stopping_) {
    Descriptor client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client.valid()) continue;
    Descriptor server = Socket();
    const sockaddr_in target = Parse(target_);
    const auto* address = reinterpret_cast<const sockaddr*>(&target);
    if (connect(server.get(), address, sizeof(target)) != 0) continue;
    absl::MutexLock lock(&mutex_);
    Connection& connection = connections_.emplace_back();
    connection = {std::move(client), std::move(server)};
    threads_.emplace_back([this, &connection] { Forward(connection); });
  }
}

void TcpProxy::Forward(Connection& connection) {
  pollfd polled[2] = {{connection.client.get(), POLLIN, 0}, {connection.server.get(), POLLIN, 0}};
  int64_t carried = 0;
  while (poll(polled, 2, -1) > 0) {
    for (int i = 0; i < 2; ++i) {
      if (polled[i].revents == 0) continue;
      const ssize_t moved = Move(polled[i].fd, polled[1 - i].fd);
      if (moved <= 0) return Break(connection);
      carried += moved;
    }
    if (cut_after_ > 0 && carried > cut_after_) {
      ++cuts_;
      return Break(connection);
    }
  }
}

}  // namespace adamant::testing
