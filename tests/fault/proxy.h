// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/files.h"

namespace adamant::testing {

// Forwards TCP connections on 127.0.0.1 to a server and cuts them: on request, or each after it
// carried `cut_after` bytes in both directions together (0 = never). Thread-safe.
class TcpProxy {
 public:
  // `target`: host:port, an IPv4 address.
  explicit TcpProxy(const std::string& target, int64_t cut_after = 0);
  ~TcpProxy();

  const std::string& address() const { return address_; }
  void Cut();  // all connections that are open now
  void SetCutAfter(int64_t bytes) { cut_after_ = bytes; }
  int cuts() const { return cuts_; }

 private:
  struct Connection {
    Descriptor client;
    Descriptor server;
  };

  void Accept();
  void Forward(Connection& connection);
  void Break(Connection& connection);

  const std::string target_;
  std::string address_;
  Descriptor listener_;
  std::atomic<int64_t> cut_after_;
  std::atomic<int> cuts_{0};
  std::atomic<bool> stopping_{false};
  absl::Mutex mutex_;
  std::list<Connection> connections_ ABSL_GUARDED_BY(mutex_);
  std::list<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

}  // namespace adamant::testing
