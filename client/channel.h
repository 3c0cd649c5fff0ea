// SPDX-License-Identifier: Apache-2.0
// How the client reaches the server: settings of the connection and what every call carries.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace grpc {
class Channel;
class ClientContext;
}  // namespace grpc

namespace adamant {

struct ClientOptions {
  absl::Duration unary_deadline = absl::Seconds(10);
  absl::Duration submit_deadline = absl::Seconds(30);
  // How long a watch, wait or transfer tries to reach a server that answers nothing.
  absl::Duration reconnect_limit = absl::Seconds(120);
  absl::Duration first_backoff = absl::Milliseconds(200);  // doubled up to 5 s
  // PEM files. TLS is used when any of them is set; without a CA the system's roots decide.
  std::string tls_ca, tls_cert, tls_key;
  std::string token_file;  // one line, sent as a bearer token
  std::string trace_id;    // 32 hex digits that all calls carry; empty = random
  std::function<void(const std::string&)> debug;  // called by any thread with one line, or unset
};

// The headers of every call: a W3C `traceparent` and, when there is one, the bearer token.
// Immutable, thread-safe.
class CallHeaders {
 public:
  // 32 hex digits name the trace; random ones when `trace_id` is empty.
  CallHeaders(std::string trace_id, std::string token);

  void AddTo(grpc::ClientContext& context) const;
  const std::string& trace_id() const { return trace_id_; }

 private:
  const std::string trace_id_;
  const std::string token_;
};

// INVALID_ARGUMENT unless `server` is host:port or unix:path.
absl::Status CheckAddress(absl::string_view server);

// The text of options.token_file, "" without one. PERMISSION_DENIED when it would travel in the
// clear: a token goes over TLS, to a loopback address or to a Unix socket only.
absl::StatusOr<std::string> LoadToken(const std::string& server, const ClientOptions& options);

// Channels of different numbers do not share a connection.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& server, int number,
                                                           const ClientOptions& options);

}  // namespace adamant
