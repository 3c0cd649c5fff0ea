// SPDX-License-Identifier: Apache-2.0
#include "server/api/api_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/api/blob_service.h"
#include "server/api/call_context.h"
#include "server/api/call_gate.h"
#include "server/api/call_log.h"
#include "server/api/dataset_service.h"
#include "server/api/model_service.h"
#include "server/api/robustness_service.h"
#include "server/api/status.h"

namespace adamant {
namespace {

constexpr int kMaxMessageBytes = 5 << 20;
constexpr int kWindowBytes = 4 << 20;
constexpr int kQuotaBytes = 256 << 20;
constexpr absl::Duration kLastWords = absl::Seconds(1);  // for the answers of calls that are ended
constexpr const char* kServiceNames[] = {"adamant.v1.RobustnessService", "adamant.v1.BlobService",
                                         "adamant.v1.ModelService", "adamant.v1.DatasetService",
                                         "adamant.v1.SystemService"};

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

// The settings of service.md 8.
void Configure(grpc::ServerBuilder& builder, const ApiLimits& limits) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 4096);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 64);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(limits.keepalive_time));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(limits.keepalive_timeout));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             Milliseconds(limits.min_ping_interval));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, Milliseconds(absl::Minutes(5)));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, Milliseconds(absl::Hours(1)));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, Milliseconds(absl::Minutes(2)));
  // A fixed window, not one that grows with the bandwidth: what an upload sends ahead of the disk
  // is memory of the server.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Milliseconds(absl::Seconds(5)));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  builder.AddChannelArgument(GRPC_ARG_TCP_TX_ZEROCOPY_ENABLED, 0);
  builder.AddChannelArgument(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
                             1 << GRPC_COMPRESS_NONE);
  builder.SetDefaultCompressionAlgorithm(GRPC_COMPRESS_NONE);
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  grpc::ResourceQuota quota("adamantd");
  quota.Resize(kQuotaBytes).SetMaxThreads(2 * cores + 8);
  builder.SetResourceQuota(quota);
}

}  // namespace

struct ApiServer::Impl {
  Impl(ServiceParts& parts, const ServerFacts& facts)
      : hub(parts.hub),
        gate(parts.limits, parts.timers),
        robustness(parts, gate),
        blobs(parts),
        models(parts),
        datasets(parts),
        system(parts, facts, [this](bool serving) { SetServing(serving); }) {}

  void SetServing(bool serving) { server->GetHealthCheckService()->SetServingStatus(serving); }

  EventHub& hub;
  CallGate gate;
  RobustnessServiceImpl robustness;
  BlobServiceImpl blobs;
  ModelServiceImpl models;
  DatasetServiceImpl datasets;
  SystemServiceImpl system;
  std::vector<std::string> addresses;
  std::unique_ptr<grpc::Server> server;
};

ApiServer::ApiServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ApiServer::~ApiServer() { Shutdown(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Start(ServiceParts& parts,
                                                            const ApiServerOptions& options) {
  auto impl = std::make_unique<Impl>(parts, options.facts);
  grpc::EnableDefaultHealthCheckService(true);
  if (options.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  Configure(builder, parts.limits);
  std::vector<int> ports(options.listen.size(), 0);
  for (size_t i = 0; i < options.listen.size(); ++i)
    builder.AddListeningPort(options.listen[i], grpc::InsecureServerCredentials(), &ports[i]);
  builder.RegisterService(&impl->robustness);
  builder.RegisterService(&impl->blobs);
  builder.RegisterService(&impl->models);
  builder.RegisterService(&impl->datasets);
  builder.RegisterService(&impl->system);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
  creators.push_back(std::make_unique<CallLogFactory>(parts.metrics, impl->gate));
  builder.SetContextAllocator(std::make_unique<CallContexts>());
  builder.experimental().SetInterceptorCreators(std::move(creators));
  impl->server = builder.BuildAndStart();
  for (size_t i = 0; i < options.listen.size(); ++i) {
    if (impl->server == nullptr || ports[i] == 0) {
      return WithReason(
          absl::UnavailableError(absl::StrCat("cannot listen on ", options.listen[i],
                                              "; another process has the address, or this one may "
                                              "not use it; choose another --listen")),
          "ADDRESS_IN_USE", {{"address", options.listen[i]}});
    }
    const std::string& address = options.listen[i];
    if (absl::StartsWith(address, "unix:")) chmod(address.c_str() + 5, 0600);
    impl->addresses.push_back(
        absl::StartsWith(address, "unix:")
            ? address
            : absl::StrCat(address.substr(0, address.rfind(':')), ":", ports[i]));
  }
  if (impl->server == nullptr) return absl::InternalError("the gRPC server did not start");
  for (const char* name : kServiceNames)
    impl->server->GetHealthCheckService()->SetServingStatus(name, true);
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(impl)));
}

const std::vector<std::string>& ApiServer::addresses() const { return impl_->addresses; }

void ApiServer::SetMetricsAddress(const std::string& address) {
  impl_->system.SetAddresses(impl_->addresses.empty() ? "" : impl_->addresses.front(), address);
}

std::shared_ptr<grpc::Channel> ApiServer::InProcessChannel() {
  return impl_->server->InProcessChannel(grpc::ChannelArguments());
}

void ApiServer::SetNotServing() { impl_->system.EndServing(); }

void ApiServer::GoAway() { impl_->hub.GoAway(); }

void ApiServer::Shutdown(absl::Duration grace) {
  const absl::Time end = absl::Now() + grace;
  impl_->gate.Close();
  if (!impl_->gate.AwaitIdle(grace - std::min(grace, kLastWords))) {
    impl_->gate.EndCalls();
    impl_->gate.AwaitIdle(std::max(end - absl::Now(), absl::ZeroDuration()));
  }
  // At once: a later deadline waits for every client to close its connection, which an idle one
  // does not do for seconds, and cancels the calls that still come meanwhile.
  impl_->server->Shutdown(std::chrono::system_clock::now());
  impl_->server->Wait();
}

}  // namespace adamant
