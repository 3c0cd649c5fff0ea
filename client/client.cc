// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <chrono>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/error.h"
#include "client/reconnect.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace adamant {
namespace {

// Retries of unary, idempotent methods only; streams are resumed by the loops of this library.
constexpr char kServiceConfig[] = R"({
  "methodConfig": [{
    "name": [
      {"service": "adamant.v1.RobustnessService", "method": "TrainJob"},
      {"service": "adamant.v1.RobustnessService", "method": "AttackJob"},
      {"service": "adamant.v1.RobustnessService", "method": "ExplainJob"},
      {"service": "adamant.v1.RobustnessService", "method": "GetJob"},
      {"service": "adamant.v1.RobustnessService", "method": "ListJobs"},
      {"service": "adamant.v1.RobustnessService", "method": "CancelJob"},
      {"service": "adamant.v1.BlobService", "method": "FindMissingBlobs"},
      {"service": "adamant.v1.BlobService", "method": "QueryWriteStatus"},
      {"service": "adamant.v1.ModelService"},
      {"service": "adamant.v1.DatasetService"},
      {"service": "adamant.v1.SystemService"}],
    "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "5s",
                    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}
  }],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
})";

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target, int number) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetMaxReceiveMessageSize(5 << 20);
  arguments.SetMaxSendMessageSize(5 << 20);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, 8 << 10);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt("adamant.channel",
                   number);  // channels with equal arguments would share a socket
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

void SetDeadline(grpc::ClientContext& context, absl::Duration deadline) {
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(deadline));
}

// One unary call.
template <typename Response, typename Stub, typename Request>
absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              Stub& stub, const Request& request, absl::Duration deadline) {
  grpc::ClientContext context;
  SetDeadline(context, deadline);
  Response response;
  if (grpc::Status status = (stub.*method)(&context, request, &response); !status.ok()) {
    return FromGrpcStatus(status);
  }
  return response;
}

bool IsTerminal(const v1::Job& job) {
  return job.state() == v1::SUCCEEDED || job.state() == v1::FAILED || job.state() == v1::CANCELLED;
}

template <typename Request>
Request Named(const std::string& name) {
  Request request;
  request.set_name(name);
  return request;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Create(const std::string& server,
                                                       ClientOptions options) {
  const absl::string_view text = server;
  const size_t colon = text.rfind(':');
  int port = 0;
  const bool is_unix = text.substr(0, 5) == "unix:" && text.size() > 5;
  if (!is_unix && (colon == absl::string_view::npos || colon == 0 ||
                   !absl::SimpleAtoi(text.substr(colon + 1), &port) || port < 1 || port > 65535)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", server, "\" is not an address; write host:port or unix:path, e.g. 127.0.0.1:50061"));
  }
  return std::unique_ptr<Client>(new Client(server, std::move(options)));
}

Client::Client(const std::string& target, ClientOptions options) : options_(std::move(options)) {
  const auto control = MakeChannel(target, 0);
  jobs_ = v1::RobustnessService::NewStub(control);
  models_ = v1::ModelService::NewStub(control);
  datasets_ = v1::DatasetService::NewStub(control);
  system_ = v1::SystemService::NewStub(control);
  blobs_ = v1::BlobService::NewStub(control);
  bulk_blobs_ = v1::BlobService::NewStub(MakeChannel(target, 1));
}

void Client::Debug(const std::string& line) const {
  if (options_.debug) options_.debug(line);
}

absl::StatusOr<v1::Job> Client::Submit(const v1::JobSpec& spec, v1::SubmitOptions options) {
  if (options.request_id().empty()) options.set_request_id(NewUuid());
  Debug(absl::StrCat("request_id ", options.request_id()));
  const auto send = [&](auto method, auto request, const auto& body) {
    *request.mutable_spec() = body;
    *request.mutable_options() = options;
    return Call(method, *jobs_, request, options_.submit_deadline);
  };
  using Jobs = v1::RobustnessService::Stub;
  switch (spec.spec_case()) {
    case v1::JobSpec::kTrain:
      return send(&Jobs::TrainJob, v1::TrainJobRequest(), spec.train());
    case v1::JobSpec::kAttack:
      return send(&Jobs::AttackJob, v1::AttackJobRequest(), spec.attack());
    case v1::JobSpec::kExplain:
      return send(&Jobs::ExplainJob, v1::ExplainJobRequest(), spec.explain());
    default:
      return absl::InvalidArgumentError("the job specification is empty");
  }
}

absl::StatusOr<v1::Job> Client::GetJob(const std::string& name) {
  return Call(&v1::RobustnessService::Stub::GetJob, *jobs_, Named<v1::GetJobRequest>(name),
              options_.unary_deadline);
}

absl::StatusOr<v1::ListJobsResponse> Client::ListJobs(const v1::ListJobsRequest& request) {
  return Call(&v1::RobustnessService::Stub::ListJobs, *jobs_, request, options_.unary_deadline);
}

absl::StatusOr<v1::Job> Client::CancelJob(const std::string& name) {
  return Call(&v1::RobustnessService::Stub::CancelJob, *jobs_, Named<v1::JobVerbRequest>(name),
              options_.unary_deadline);
}

absl::StatusOr<v1::ExplainResponse> Client::Explain(const v1::ExplainRequest& request,
                                                    absl::Duration deadline) {
  return Call(&v1::RobustnessService::Stub::Explain, *jobs_, request, deadline);
}

absl::StatusOr<v1::Job> Client::Wait(const std::string& name, absl::Duration timeout,
                                     CancelToken* cancel) {
  const absl::Time end = absl::Now() + timeout;
  Reconnect reconnect(*this, cancel, "the wait");
  while (true) {
    const absl::Duration left = end - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(absl::StrCat(name, " has not ended"));
    }
    const absl::Duration poll = std::min(left, absl::Seconds(30));
    auto request = Named<v1::WaitJobRequest>(name);
    const int64_t nanos = absl::ToInt64Nanoseconds(poll);
    request.mutable_timeout()->set_seconds(nanos / 1000000000);
    request.mutable_timeout()->set_nanos(static_cast<int32_t>(nanos % 1000000000));
    grpc::ClientContext context;
    SetDeadline(context, poll + options_.unary_deadline);
    const CancelToken::Scope scope(cancel, &context);
    v1::Job job;
    const grpc::Status status = jobs_->WaitJob(&context, request, &job);
    if (status.ok()) {
      if (IsTerminal(job)) return job;
      reconnect.Progress();
      continue;
    }
    if (absl::Status next = reconnect.Next(FromGrpcStatus(status)); !next.ok()) return next;
  }
}

absl::StatusOr<v1::Model> Client::RegisterModel(const v1::RegisterModelRequest& request) {
  return Call(&v1::ModelService::Stub::RegisterModel, *models_, request, options_.submit_deadline);
}
absl::StatusOr<v1::Model> Client::GetModel(const std::string& name) {
  return Call(&v1::ModelService::Stub::GetModel, *models_, Named<v1::GetModelRequest>(name),
              options_.unary_deadline);
}
absl::StatusOr<v1::ListModelsResponse> Client::ListModels(const v1::ListModelsRequest& request) {
  return Call(&v1::ModelService::Stub::ListModels, *models_, request, options_.unary_deadline);
}
absl::Status Client::DeleteModel(const std::string& name) {
  return Call(&v1::ModelService::Stub::DeleteModel, *models_, Named<v1::DeleteModelRequest>(name),
              options_.unary_deadline)
      .status();
}

absl::StatusOr<v1::Dataset> Client::RegisterDataset(const v1::RegisterDatasetRequest& request) {
  return Call(&v1::DatasetService::Stub::RegisterDataset, *datasets_, request,
              options_.submit_deadline);
}
absl::StatusOr<v1::Dataset> Client::GetDataset(const std::string& name) {
  return Call(&v1::DatasetService::Stub::GetDataset, *datasets_, Named<v1::GetDatasetRequest>(name),
              options_.unary_deadline);
}
absl::StatusOr<v1::ListDatasetsResponse> Client::ListDatasets(
    const v1::ListDatasetsRequest& request) {
  return Call(&v1::DatasetService::Stub::ListDatasets, *datasets_, request,
              options_.unary_deadline);
}
absl::Status Client::DeleteDataset(const std::string& name) {
  return Call(&v1::DatasetService::Stub::DeleteDataset, *datasets_,
              Named<v1::DeleteDatasetRequest>(name), options_.unary_deadline)
      .status();
}

absl::StatusOr<v1::Capabilities> Client::GetCapabilities() {
  return Call(&v1::SystemService::Stub::GetCapabilities, *system_, v1::GetCapabilitiesRequest(),
              options_.unary_deadline);
}
absl::StatusOr<v1::ServerStatus> Client::GetServerStatus() {
  return Call(&v1::SystemService::Stub::GetServerStatus, *system_, v1::GetServerStatusRequest(),
              options_.unary_deadline);
}

std::string NewUuid() {
  std::random_device device;
  uint32_t words[4];
  for (uint32_t& word : words) word = device();
  words[1] = (words[1] & 0xffff0fffu) | 0x00004000u;  // version 4
  words[2] = (words[2] & 0x3fffffffu) | 0x80000000u;  // variant 1
  return absl::StrFormat("%08x-%04x-%04x-%04x-%04x%08x", words[0], words[1] >> 16,
                         words[1] & 0xffff, words[2] >> 16, words[2] & 0xffff, words[3]);
}

}  // namespace adamant
