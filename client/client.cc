// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <iterator>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/call.h"
#include "client/error.h"
#include "client/reconnect.h"
#include "client/stubs.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "grpcpp/channel.h"

namespace adamant {
namespace {

constexpr int32_t kMetricPage = 10000;

v1::JobVerbRequest VerbOn(const std::string& name, const std::string& etag) {
  v1::JobVerbRequest request;
  request.set_name(name);
  request.set_etag(etag);
  return request;
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
  RETURN_IF_ERROR(CheckAddress(server));
  ASSIGN_OR_RETURN(std::string token, LoadToken(server, options));
  ASSIGN_OR_RETURN(auto control, MakeChannel(server, 0, options));
  ASSIGN_OR_RETURN(auto bulk, MakeChannel(server, 1, options));
  CallHeaders headers(options.trace_id, std::move(token));
  return std::unique_ptr<Client>(
      new Client(std::move(control), bulk, std::move(headers), std::move(options)));
}

Client::Client(std::shared_ptr<grpc::Channel> control, const std::shared_ptr<grpc::Channel>& bulk,
               CallHeaders headers, ClientOptions options)
    : options_(std::move(options)),
      headers_(std::move(headers)),
      stubs_(new Stubs{v1::RobustnessService::NewStub(control), v1::ModelService::NewStub(control),
                       v1::DatasetService::NewStub(control), v1::SystemService::NewStub(control),
                       v1::BlobService::NewStub(control), v1::BlobService::NewStub(bulk)}) {}

Client::~Client() = default;

void Client::Debug(const std::string& line) const {
  if (options_.debug) options_.debug(line);
}

absl::StatusOr<v1::Job> Client::Submit(const v1::JobSpec& spec, v1::SubmitOptions options) {
  if (options.request_id().empty()) options.set_request_id(NewUuid());
  Debug(absl::StrCat("request_id ", options.request_id()));
  const auto send = [&](auto method, auto request, const auto& body) {
    *request.mutable_spec() = body;
    *request.mutable_options() = options;
    return Call(method, *stubs_->jobs, headers_, request, options_.submit_deadline);
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
  return Call(&v1::RobustnessService::Stub::GetJob, *stubs_->jobs, headers_,
              Named<v1::GetJobRequest>(name), options_.unary_deadline);
}

absl::StatusOr<v1::ListJobsResponse> Client::ListJobs(const v1::ListJobsRequest& request) {
  return Call(&v1::RobustnessService::Stub::ListJobs, *stubs_->jobs, headers_, request,
              options_.unary_deadline);
}

absl::StatusOr<v1::Job> Client::CancelJob(const std::string& name, const std::string& etag) {
  return Call(&v1::RobustnessService::Stub::CancelJob, *stubs_->jobs, headers_, VerbOn(name, etag),
              options_.unary_deadline);
}
absl::StatusOr<v1::Job> Client::PauseJob(const std::string& name, const std::string& etag) {
  return Call(&v1::RobustnessService::Stub::PauseJob, *stubs_->jobs, headers_, VerbOn(name, etag),
              options_.unary_deadline);
}
absl::StatusOr<v1::Job> Client::ResumeJob(const std::string& name, const std::string& etag) {
  return Call(&v1::RobustnessService::Stub::ResumeJob, *stubs_->jobs, headers_, VerbOn(name, etag),
              options_.unary_deadline);
}

absl::Status Client::DeleteJob(const std::string& name, const std::string& etag) {
  return Call(&v1::RobustnessService::Stub::DeleteJob, *stubs_->jobs, headers_, VerbOn(name, etag),
              options_.unary_deadline)
      .status();
}

absl::StatusOr<v1::Job> Client::RetryJob(const std::string& name, v1::SubmitOptions options) {
  if (options.request_id().empty()) options.set_request_id(NewUuid());
  Debug(absl::StrCat("request_id ", options.request_id()));
  auto request = Named<v1::RetryJobRequest>(name);
  *request.mutable_options() = std::move(options);
  return Call(&v1::RobustnessService::Stub::RetryJob, *stubs_->jobs, headers_, request,
              options_.submit_deadline);
}

absl::StatusOr<v1::ExplainResponse> Client::Explain(const v1::ExplainRequest& request,
                                                    absl::Duration deadline, CancelToken* cancel) {
  return Call(&v1::RobustnessService::Stub::Explain, *stubs_->jobs, headers_, request, deadline,
              cancel);
}

absl::StatusOr<std::vector<v1::MetricPoint>> Client::ListMetricPoints(
    v1::ListMetricPointsRequest request) {
  if (request.page_size() == 0) request.set_page_size(kMetricPage);
  std::vector<v1::MetricPoint> points;
  do {
    ASSIGN_OR_RETURN(v1::ListMetricPointsResponse page,
                     Call(&v1::RobustnessService::Stub::ListMetricPoints, *stubs_->jobs, headers_,
                          request, options_.unary_deadline));
    std::move(page.mutable_points()->begin(), page.mutable_points()->end(),
              std::back_inserter(points));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return points;
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
    headers_.AddTo(context);
    const CancelToken::Scope scope(cancel, &context);
    v1::Job job;
    const grpc::Status status = stubs_->jobs->WaitJob(&context, request, &job);
    if (status.ok()) {
      if (HasEnded(job.state())) return job;
      reconnect.Progress();
      continue;
    }
    if (absl::Status next = reconnect.Next(FromGrpcStatus(status)); !next.ok()) return next;
  }
}

absl::StatusOr<v1::Model> Client::RegisterModel(const v1::RegisterModelRequest& request) {
  return Call(&v1::ModelService::Stub::RegisterModel, *stubs_->models, headers_, request,
              options_.submit_deadline);
}
absl::StatusOr<v1::Model> Client::GetModel(const std::string& name) {
  return Call(&v1::ModelService::Stub::GetModel, *stubs_->models, headers_,
              Named<v1::GetModelRequest>(name), options_.unary_deadline);
}
absl::StatusOr<v1::ListModelsResponse> Client::ListModels(const v1::ListModelsRequest& request) {
  return Call(&v1::ModelService::Stub::ListModels, *stubs_->models, headers_, request,
              options_.unary_deadline);
}
absl::Status Client::DeleteModel(const std::string& name) {
  return Call(&v1::ModelService::Stub::DeleteModel, *stubs_->models, headers_,
              Named<v1::DeleteModelRequest>(name), options_.unary_deadline)
      .status();
}

absl::StatusOr<v1::Dataset> Client::RegisterDataset(const v1::RegisterDatasetRequest& request) {
  return Call(&v1::DatasetService::Stub::RegisterDataset, *stubs_->datasets, headers_, request,
              options_.submit_deadline);
}
absl::StatusOr<v1::Dataset> Client::GetDataset(const std::string& name) {
  return Call(&v1::DatasetService::Stub::GetDataset, *stubs_->datasets, headers_,
              Named<v1::GetDatasetRequest>(name), options_.unary_deadline);
}
absl::StatusOr<v1::ListDatasetsResponse> Client::ListDatasets(
    const v1::ListDatasetsRequest& request) {
  return Call(&v1::DatasetService::Stub::ListDatasets, *stubs_->datasets, headers_, request,
              options_.unary_deadline);
}
absl::Status Client::DeleteDataset(const std::string& name) {
  return Call(&v1::DatasetService::Stub::DeleteDataset, *stubs_->datasets, headers_,
              Named<v1::DeleteDatasetRequest>(name), options_.unary_deadline)
      .status();
}

absl::StatusOr<v1::Capabilities> Client::GetCapabilities() {
  return Call(&v1::SystemService::Stub::GetCapabilities, *stubs_->system, headers_,
              v1::GetCapabilitiesRequest(), options_.unary_deadline);
}
absl::StatusOr<v1::ServerStatus> Client::GetServerStatus() {
  return Call(&v1::SystemService::Stub::GetServerStatus, *stubs_->system, headers_,
              v1::GetServerStatusRequest(), options_.unary_deadline);
}

absl::StatusOr<v1::ServerStatus> Client::DrainServer(v1::DrainServerRequest::Mode mode) {
  v1::DrainServerRequest request;
  request.set_mode(mode);
  return Call(&v1::SystemService::Stub::DrainServer, *stubs_->system, headers_, request,
              options_.unary_deadline);
}
absl::StatusOr<v1::ServerStatus> Client::UndrainServer() {
  return Call(&v1::SystemService::Stub::UndrainServer, *stubs_->system, headers_,
              v1::UndrainServerRequest(), options_.unary_deadline);
}

bool HasEnded(v1::JobState state) {
  return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::CANCELLED;
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

std::string UploadUuid(const v1::BlobRef& blob, absl::string_view user) {
  std::string hex = Sha256Hex(absl::StrCat("adamant upload\n", user, "\n", BlobName(blob)));
  hex[12] = '8';  // version 8: made from data of one's own
  hex[16] = '8';  // variant 1
  const absl::string_view digits = hex;
  return absl::StrCat(digits.substr(0, 8), "-", digits.substr(8, 4), "-", digits.substr(12, 4), "-",
                      digits.substr(16, 4), "-", digits.substr(20, 12));
}

}  // namespace adamant
