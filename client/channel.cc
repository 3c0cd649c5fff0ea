// SPDX-License-Identifier: Apache-2.0
#include "client/channel.h"

#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace adamant {
namespace {

// Retries of unary, idempotent methods only; WaitJob and the streams are resumed by the loops of
// this library, Explain is for the caller to repeat. CANCELLED comes from a server that closes its
// connections; a call that this side cancels is never retried.
constexpr char kServiceConfig[] = R"({
  "methodConfig": [{
    "name": [
      {"service": "adamant.v1.RobustnessService", "method": "TrainJob"},
      {"service": "adamant.v1.RobustnessService", "method": "AttackJob"},
      {"service": "adamant.v1.RobustnessService", "method": "ExplainJob"},
      {"service": "adamant.v1.RobustnessService", "method": "GetJob"},
      {"service": "adamant.v1.RobustnessService", "method": "ListJobs"},
      {"service": "adamant.v1.RobustnessService", "method": "CancelJob"},
      {"service": "adamant.v1.RobustnessService", "method": "PauseJob"},
      {"service": "adamant.v1.RobustnessService", "method": "ResumeJob"},
      {"service": "adamant.v1.RobustnessService", "method": "RetryJob"},
      {"service": "adamant.v1.RobustnessService", "method": "DeleteJob"},
      {"service": "adamant.v1.RobustnessService", "method": "ListMetricPoints"},
      {"service": "adamant.v1.BlobService", "method": "FindMissingBlobs"},
      {"service": "adamant.v1.BlobService", "method": "QueryWriteStatus"},
      {"service": "adamant.v1.ModelService"},
      {"service": "adamant.v1.DatasetService"},
      {"service": "adamant.v1.SystemService"}],
    "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "5s",
                    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]}
  }],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
})";

constexpr int kMaxMessageBytes = 5 << 20;

std::string RandomHex(int words) {
  std::random_device device;
  std::string text;
  for (int i = 0; i < words; ++i) absl::StrAppendFormat(&text, "%08x", device() | 1u);
  return text;
}

bool IsLocal(absl::string_view server) {
  return absl::StartsWith(server, "unix:") || absl::StartsWith(server, "localhost:") ||
         absl::StartsWith(server, "127.") || absl::StartsWith(server, "[::1]:");
}

bool UsesTls(const ClientOptions& options) {
  return !options.tls_ca.empty() || !options.tls_cert.empty() || !options.tls_key.empty();
}

// gRPC would take a file of another kind for a server that cannot be reached.
absl::StatusOr<std::string> ReadPem(const std::string& path, absl::string_view kind) {
  ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  if (absl::StrContains(text, kind)) return text;
  return absl::InvalidArgumentError(absl::StrCat(path, " holds no PEM block \"", kind, "\""));
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const ClientOptions& options) {
  if (!UsesTls(options)) return grpc::InsecureChannelCredentials();
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError(
        "a client certificate and its key belong together; give both or none");
  }
  grpc::SslCredentialsOptions ssl;  // an empty pem_root_certs means the system's
  if (!options.tls_ca.empty()) {
    ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadPem(options.tls_ca, "CERTIFICATE-----"));
  }
  if (!options.tls_cert.empty()) {
    ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadPem(options.tls_cert, "CERTIFICATE-----"));
    ASSIGN_OR_RETURN(ssl.pem_private_key, ReadPem(options.tls_key, "PRIVATE KEY-----"));
  }
  return grpc::SslCredentials(ssl);
}

grpc::ChannelArguments Arguments(int number) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetCompressionAlgorithm(GRPC_COMPRESS_NONE);
  arguments.SetInt(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1);  // identity only
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, 8 << 10);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // the time-out of one connect
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  arguments.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
  arguments.SetInt(GRPC_ARG_TCP_TX_ZEROCOPY_ENABLED, 0);
  arguments.SetInt("adamant.channel", number);  // equal arguments would share a connection
  return arguments;
}

}  // namespace

CallHeaders::CallHeaders(std::string trace_id, std::string token)
    : trace_id_(trace_id.empty() ? RandomHex(4) : std::move(trace_id)), token_(std::move(token)) {}

void CallHeaders::AddTo(grpc::ClientContext& context) const {
  context.AddMetadata("traceparent", absl::StrCat("00-", trace_id_, "-", RandomHex(2), "-01"));
  if (!token_.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", token_));
}

absl::Status CheckAddress(absl::string_view server) {
  const size_t colon = server.rfind(':');
  int port = 0;
  if (absl::StartsWith(server, "unix:") && server.size() > 5) return absl::OkStatus();
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(server.substr(colon + 1), &port) || port < 1 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", server, "\" is not an address; write host:port or unix:path, e.g. 127.0.0.1:50061"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> LoadToken(const std::string& server, const ClientOptions& options) {
  if (options.token_file.empty()) return "";
  ASSIGN_OR_RETURN(const std::string text, ReadFile(options.token_file));
  const std::string token(absl::StripAsciiWhitespace(text));
  if (token.empty() || token.find_first_of(" \t\r\n") != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.token_file, " does not hold one line with a token"));
  }
  if (!UsesTls(options) && !IsLocal(server)) {
    return absl::PermissionDeniedError(
        absl::StrCat("the token would travel in the clear to ", server,
                     "; give the server's certificate authority (tls_ca) to use TLS"));
  }
  return token;
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& server, int number,
                                                           const ClientOptions& options) {
  ASSIGN_OR_RETURN(const auto credentials, MakeCredentials(options));
  return grpc::CreateCustomChannel(server, credentials, Arguments(number));
}

}  // namespace adamant
