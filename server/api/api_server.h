// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/api/service_parts.h"
#include "server/api/system_service.h"

namespace grpc {
class Channel;
}

namespace adamant {

struct ApiServerOptions {
  std::vector<std::string> listen;  // host:port, port 0 for a free one, or unix:path
  bool reflection = false;
  ServerFacts facts;
};

// The gRPC server with its five services, health and reflection. Thread-safe after Start.
class ApiServer {
 public:
  // `parts` are borrowed and must outlive the server. UNAVAILABLE / ADDRESS_IN_USE when an address
  // cannot be bound.
  static absl::StatusOr<std::unique_ptr<ApiServer>> Start(ServiceParts& parts,
                                                          const ApiServerOptions& options);
  ~ApiServer();

  // What was bound, with real ports, in the order of the options.
  const std::vector<std::string>& addresses() const;
  // For GetServerStatus.
  void SetMetricsAddress(const std::string& address);

  // A channel without a socket, for tests.
  std::shared_ptr<grpc::Channel> InProcessChannel();

  // Drain: health says NOT_SERVING; calls that wait for a job are told to go. Shutdown refuses new
  // calls and lets the open ones end; shortly before `grace` is over it ends them. All of these end
  // with UNAVAILABLE. It takes no longer than the calls do.
  void SetNotServing();
  void GoAway();
  void Shutdown(absl::Duration grace);

 private:
  struct Impl;
  explicit ApiServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace adamant
