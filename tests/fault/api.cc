// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/api.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "adamant/v1/blob.grpc.pb.h"
#include "adamant/v1/robustness_service.grpc.pb.h"
#include "adamant/v1/system.grpc.pb.h"
#include "client/client.h"
#include "common/blob_name.h"
#include "common/sha256.h"

namespace adamant::testing {
namespace {

constexpr int kPatience = 30;  // seconds
constexpr size_t kPiece = 64 << 10;

absl::Status ToStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

void Limit(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(kPatience));
}

// One call that is not repeated.
template <typename Response, typename Stub, typename Request>
absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              Stub& stub, const Request& request) {
  grpc::ClientContext context;
  Limit(context);
  Response response;
  if (grpc::Status status = (stub.*method)(&context, request, &response); !status.ok())
    return ToStatus(status);
  return response;
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

struct IdleWatch {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::JobEvent>> stream;
  ~IdleWatch() {
    context.TryCancel();
    stream->Finish();
  }
};

}  // namespace

struct Api::Stubs {
  explicit Stubs(const std::string& address)
      : channel(Connect(address)), jobs(channel), blobs(channel), system(channel) {}
  std::shared_ptr<grpc::Channel> channel;
  v1::RobustnessService::Stub jobs;
  v1::BlobService::Stub blobs;
  v1::SystemService::Stub system;
};

Api::Api(const std::string& address) : stubs_(std::make_unique<Stubs>(address)) {}
Api::~Api() = default;

absl::StatusOr<v1::Job> Api::Submit(const ChainRequest& request) {
  v1::TrainJobRequest message;
  v1::TrainSpec& spec = *message.mutable_spec();
  spec.set_seed(request.seed);
  spec.set_steps(request.steps);
  spec.set_batch_size(request.step_milliseconds);
  spec.mutable_checkpoint()->set_every_steps(request.every_steps);
  spec.mutable_model()->mutable_architecture()->set_name("mini_gap");
  spec.mutable_train()->mutable_builtin()->set_name("shapes");
  message.mutable_options()->set_request_id(request.request_id);
  message.mutable_options()->set_start_paused(request.start_paused);
  (*message.mutable_options()->mutable_labels())["request"] = request.request_id;
  return Call(&v1::RobustnessService::Stub::TrainJob, stubs_->jobs, message);
}

absl::StatusOr<v1::Job> Api::Ask(Verb verb, const std::string& job) {
  v1::JobVerbRequest request;
  request.set_name(job);
  const auto method = verb == Verb::kCancel  ? &v1::RobustnessService::Stub::CancelJob
                      : verb == Verb::kPause ? &v1::RobustnessService::Stub::PauseJob
                                             : &v1::RobustnessService::Stub::ResumeJob;
  return Call(method, stubs_->jobs, request);
}

absl::Status Api::Delete(const std::string& job) {
  v1::JobVerbRequest request;
  request.set_name(job);
  return Call(&v1::RobustnessService::Stub::DeleteJob, stubs_->jobs, request).status();
}

absl::StatusOr<v1::Job> Api::Get(const std::string& job) {
  v1::GetJobRequest request;
  request.set_name(job);
  return Call(&v1::RobustnessService::Stub::GetJob, stubs_->jobs, request);
}

absl::StatusOr<std::vector<v1::Job>> Api::List() {
  std::vector<v1::Job> jobs;
  v1::ListJobsRequest request;
  request.set_page_size(200);
  do {
    auto page = Call(&v1::RobustnessService::Stub::ListJobs, stubs_->jobs, request);
    if (!page.ok()) return page.status();
    jobs.insert(jobs.end(), page->jobs().begin(), page->jobs().end());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return jobs;
}

absl::StatusOr<v1::ServerStatus> Api::Status() {
  return Call(&v1::SystemService::Stub::GetServerStatus, stubs_->system,
              v1::GetServerStatusRequest());
}

absl::Status Api::Watch(const std::string& job, int64_t from_seq,
                        const std::function<bool(const v1::JobEvent&)>& on_event) {
  v1::WatchJobRequest request;
  request.set_name(job);
  request.set_from_seq(from_seq);
  grpc::ClientContext context;
  const auto stream = stubs_->jobs.WatchJob(&context, request);
  v1::JobEvent event;
  bool wanted = true;
  while (wanted && stream->Read(&event)) wanted = on_event(event);
  if (!wanted) context.TryCancel();
  return ToStatus(stream->Finish());
}

std::shared_ptr<void> Api::OpenIdleWatch(const std::string& job) {
  auto watch = std::make_shared<IdleWatch>();
  v1::WatchJobRequest request;
  request.set_name(job);
  request.set_from_seq(1);
  watch->stream = stubs_->jobs.WatchJob(&watch->context, request);
  return watch;
}

absl::StatusOr<std::string> Api::ReadLog(const std::string& job, int64_t offset) {
  v1::ReadLogRequest request;
  request.set_name(job);
  request.set_offset(offset);
  grpc::ClientContext context;
  Limit(context);
  const auto stream = stubs_->jobs.ReadLog(&context, request);
  std::string bytes;
  v1::ReadLogResponse response;
  while (stream->Read(&response)) bytes += response.data();
  if (grpc::Status status = stream->Finish(); !status.ok()) return ToStatus(status);
  return bytes;
}

absl::StatusOr<int64_t> Api::Write(const std::string& upload, absl::string_view bytes,
                                   int64_t offset) {
  grpc::ClientContext context;
  Limit(context);
  v1::WriteResponse response;
  const auto stream = stubs_->blobs.Write(&context, &response);
  auto next = static_cast<size_t>(offset);
  bool open = true;
  for (bool first = true; open && (first || next < bytes.size()); first = false) {
    v1::WriteRequest request;
    if (first) request.set_resource_name(upload);
    request.set_write_offset(static_cast<int64_t>(next));
    request.set_data(std::string(bytes.substr(next, kPiece)));
    next += request.data().size();
    request.set_finish_write(next == bytes.size());
    open = stream->Write(request);
  }
  stream->WritesDone();
  if (grpc::Status status = stream->Finish(); !status.ok()) return ToStatus(status);
  return response.committed_size();
}

absl::StatusOr<int64_t> Api::Committed(const std::string& upload) {
  v1::QueryWriteStatusRequest request;
  request.set_resource_name(upload);
  const auto response = Call(&v1::BlobService::Stub::QueryWriteStatus, stubs_->blobs, request);
  if (!response.ok()) return response.status();
  return response->committed_size();
}

absl::StatusOr<std::string> Api::Read(const v1::BlobRef& blob) {
  v1::ReadRequest request;
  request.set_name(BlobName(blob));
  grpc::ClientContext context;
  Limit(context);
  const auto stream = stubs_->blobs.Read(&context, request);
  std::string bytes;
  v1::ReadResponse response;
  while (stream->Read(&response)) bytes += response.data();
  if (grpc::Status status = stream->Finish(); !status.ok()) return ToStatus(status);
  return bytes;
}

v1::BlobRef RefOf(absl::string_view bytes) {
  v1::BlobRef blob;
  blob.set_sha256(Sha256Hex(bytes));
  blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
  return blob;
}

std::string NewUpload(const v1::BlobRef& blob) {
  return absl::StrCat("uploads/", NewUuid(), "/", BlobName(blob));
}

}  // namespace adamant::testing
