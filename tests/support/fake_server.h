// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "adamant/v1/blob.grpc.pb.h"
#include "adamant/v1/dataset.grpc.pb.h"
#include "adamant/v1/model.grpc.pb.h"
#include "adamant/v1/robustness_service.grpc.pb.h"
#include "adamant/v1/system.grpc.pb.h"
#include "client/client.h"
#include "common/sha256.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"

namespace adamant::testing {

// An error as the real server makes it.
inline grpc::Status ErrorWith(grpc::StatusCode code, const std::string& message,
                              const std::string& reason,
                              const std::vector<std::pair<std::string, std::string>>& fields = {}) {
  google::rpc::Status details;
  details.set_code(code);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("adamant.v1");
  details.add_details()->PackFrom(info);
  google::rpc::BadRequest bad;
  for (const auto& [field, description] : fields) {
    auto& violation = *bad.add_field_violations();
    violation.set_field(field);
    violation.set_description(description);
  }
  if (!fields.empty()) details.add_details()->PackFrom(bad);
  return {code, message, details.SerializeAsString()};
}

// Jobs that play back scripts. Set the public members before the client calls.
class FakeJobs : public v1::RobustnessService::Service {
 public:
  struct Stream {
    std::vector<v1::JobEvent> events;
    grpc::Status end;
  };
  std::deque<Stream> watches;      // one per WatchJob call
  std::vector<int64_t> from_seqs;  // what the calls asked for
  v1::Job job;                     // answer of every unary call
  grpc::Status submit_status;
  std::vector<v1::Job> listed;
  std::vector<std::string> verbs;  // "pause jobs/x", in the order of the calls
  v1::RetryJobRequest retry;
  int unavailable = 0;  // so many verbs and explains are answered with `refusal` first
  grpc::StatusCode refusal = grpc::StatusCode::UNAVAILABLE;
  int explains = 0;
  v1::ListJobsRequest list;  // the last one
  std::vector<v1::MetricPoint> points;
  std::vector<v1::ListMetricPointsRequest> metric_pages;
  int page_limit = 1000;                   // points of a page, whatever the client asks for
  std::string traceparent, authorization;  // of the last GetJob
  std::string log;
  size_t log_break = std::string::npos;  // the first ReadLog breaks after this many bytes
  v1::TrainJobRequest train;             // the last submits
  v1::AttackJobRequest attack;
  v1::ExplainJobRequest explain;
  v1::ExplainRequest explain_now;  // the last one, and what it is answered with
  v1::ExplainResponse explained;
  grpc::Status explain_status;

  grpc::Status TrainJob(grpc::ServerContext*, const v1::TrainJobRequest* request,
                        v1::Job* out) override {
    train = *request;
    *out = job;
    return submit_status;
  }
  grpc::Status AttackJob(grpc::ServerContext*, const v1::AttackJobRequest* request,
                         v1::Job* out) override {
    attack = *request;
    *out = job;
    return submit_status;
  }
  grpc::Status ExplainJob(grpc::ServerContext*, const v1::ExplainJobRequest* request,
                          v1::Job* out) override {
    explain = *request;
    *out = job;
    return submit_status;
  }
  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest*,
                      v1::Job* out) override {
    traceparent = Header(*context, "traceparent");
    authorization = Header(*context, "authorization");
    *out = job;
    return grpc::Status::OK;
  }
  grpc::Status WaitJob(grpc::ServerContext*, const v1::WaitJobRequest*, v1::Job* out) override {
    *out = job;
    return grpc::Status::OK;
  }
  grpc::Status CancelJob(grpc::ServerContext*, const v1::JobVerbRequest* request,
                         v1::Job* out) override {
    return Verb("cancel", *request, out);
  }
  grpc::Status PauseJob(grpc::ServerContext*, const v1::JobVerbRequest* request,
                        v1::Job* out) override {
    return Verb("pause", *request, out);
  }
  grpc::Status ResumeJob(grpc::ServerContext*, const v1::JobVerbRequest* request,
                         v1::Job* out) override {
    return Verb("resume", *request, out);
  }
  grpc::Status DeleteJob(grpc::ServerContext*, const v1::JobVerbRequest* request,
                         google::protobuf::Empty*) override {
    return Verb("delete", *request, nullptr);
  }
  grpc::Status RetryJob(grpc::ServerContext*, const v1::RetryJobRequest* request,
                        v1::Job* out) override {
    retry = *request;
    *out = job;
    return grpc::Status::OK;
  }
  grpc::Status Explain(grpc::ServerContext*, const v1::ExplainRequest* request,
                       v1::ExplainResponse* out) override {
    ++explains;
    explain_now = *request;
    *out = explained;
    return unavailable-- > 0 ? grpc::Status(refusal, "later")
                             : explain_status;
  }
  grpc::Status ListMetricPoints(grpc::ServerContext*, const v1::ListMetricPointsRequest* request,
                                v1::ListMetricPointsResponse* out) override {
    metric_pages.push_back(*request);
    const size_t begin = request->page_token().empty() ? 0 : std::stoul(request->page_token());
    const size_t size = std::min<size_t>(page_limit, request->page_size());
    const size_t end = std::min(points.size(), begin + size);
    for (size_t i = begin; i < end; ++i) *out->add_points() = points[i];
    if (end < points.size()) out->set_next_page_token(std::to_string(end));
    return grpc::Status::OK;
  }
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* out) override {
    list = *request;
    for (const v1::Job& entry : listed) *out->add_jobs() = entry;
    return grpc::Status::OK;
  }
  grpc::Status WatchJob(grpc::ServerContext*, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::JobEvent>* writer) override {
    from_seqs.push_back(request->from_seq());
    if (watches.empty()) return {grpc::StatusCode::NOT_FOUND, "no script left"};
    const Stream stream = watches.front();
    watches.pop_front();
    for (const v1::JobEvent& event : stream.events) writer->Write(event);
    return stream.end;
  }
  grpc::Status ReadLog(grpc::ServerContext*, const v1::ReadLogRequest* request,
                       grpc::ServerWriter<v1::ReadLogResponse>* writer) override {
    v1::ReadLogResponse response;
    response.set_offset(request->offset());
    const size_t end = std::min(log_break, log.size());
    const bool broken = end < log.size();
    log_break = std::string::npos;
    size_t begin = static_cast<size_t>(request->offset());
    if (request->tail_lines() > 0) {
      begin = log.size();
      for (int64_t line = 0; line < request->tail_lines() && begin > 0; ++line) {
        begin = begin < 2 ? 0 : log.rfind('\n', begin - 2) + 1;
      }
    }
    response.set_offset(static_cast<int64_t>(begin));
    response.set_data(log.substr(begin, end - begin));
    writer->Write(response);
    return broken ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut") : grpc::Status::OK;
  }

 private:
  static std::string Header(const grpc::ServerContext& context, const std::string& name) {
    const auto found = context.client_metadata().find(name);
    return found == context.client_metadata().end()
               ? ""
               : std::string(found->second.data(), found->second.size());
  }

  grpc::Status Verb(const std::string& verb, const v1::JobVerbRequest& request, v1::Job* out) {
    verbs.push_back(verb + " " + request.name());
    if (unavailable-- > 0) return {refusal, "later"};
    if (out != nullptr) *out = job;
    return grpc::Status::OK;
  }
};

// Blobs in memory; transfers can be cut.
class FakeBlobs : public v1::BlobService::Service {
 public:
  std::map<std::string, std::string> blobs;   // by name
  std::map<std::string, std::string> staged;  // by upload name
  int64_t write_break = -1;  // the first Write ends UNAVAILABLE once it holds so many bytes
  int64_t read_break = -1;   // the first Read ends UNAVAILABLE after so many bytes
  std::vector<int64_t> write_offsets;  // first offset of each Write
  std::vector<int64_t> read_offsets;
  bool corrupt_reads = false;
  std::vector<int> asked;  // digests of each FindMissingBlobs

  void Add(const std::string& bytes) { blobs[BlobName(RefOf(bytes))] = bytes; }
  static v1::BlobRef RefOf(const std::string& bytes) {
    v1::BlobRef blob;
    blob.set_sha256(Sha256Hex(bytes));
    blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
    return blob;
  }

  grpc::Status FindMissingBlobs(grpc::ServerContext*, const v1::FindMissingBlobsRequest* request,
                                v1::FindMissingBlobsResponse* out) override {
    asked.push_back(request->blobs_size());
    if (request->blobs_size() > 10000) {
      return ErrorWith(grpc::INVALID_ARGUMENT, "more than 10000 blobs", "INVALID_SPEC");
    }
    for (const v1::BlobRef& blob : request->blobs()) {
      if (!blobs.contains(BlobName(blob))) *out->add_missing() = blob;
    }
    return grpc::Status::OK;
  }
  grpc::Status QueryWriteStatus(grpc::ServerContext*, const v1::QueryWriteStatusRequest* request,
                                v1::QueryWriteStatusResponse* out) override {
    const auto found = staged.find(request->resource_name());
    if (found == staged.end()) return ErrorWith(grpc::NOT_FOUND, "no upload", "UPLOAD_NOT_FOUND");
    out->set_committed_size(static_cast<int64_t>(found->second.size()));
    return grpc::Status::OK;
  }
  grpc::Status Write(grpc::ServerContext*, grpc::ServerReader<v1::WriteRequest>* reader,
                     v1::WriteResponse* out) override {
    v1::WriteRequest request;
    std::string name;
    while (reader->Read(&request)) {
      if (!request.resource_name().empty()) {
        name = request.resource_name();
        write_offsets.push_back(request.write_offset());
      }
      std::string& bytes = staged[name];
      if (request.write_offset() != static_cast<int64_t>(bytes.size())) {
        return ErrorWith(grpc::INVALID_ARGUMENT, "offset", "BAD_OFFSET");
      }
      bytes += request.data();
      if (write_break >= 0 && static_cast<int64_t>(bytes.size()) >= write_break) {
        write_break = -1;
        return {grpc::StatusCode::UNAVAILABLE, "cut"};
      }
      if (request.finish_write()) {
        blobs[name.substr(name.find("/blobs/") + 1)] = bytes;
        out->set_committed_size(static_cast<int64_t>(bytes.size()));
      }
    }
    return grpc::Status::OK;
  }
  grpc::Status Read(grpc::ServerContext*, const v1::ReadRequest* request,
                    grpc::ServerWriter<v1::ReadResponse>* writer) override {
    const auto found = blobs.find(request->name());
    if (found == blobs.end()) return ErrorWith(grpc::NOT_FOUND, "no blob", "BLOB_NOT_FOUND");
    read_offsets.push_back(request->offset());
    const int64_t size = static_cast<int64_t>(found->second.size());
    const int64_t end = read_break >= 0 ? std::min(read_break, size) : size;
    read_break = -1;
    v1::ReadResponse response;
    response.set_data(found->second.substr(request->offset(), end - request->offset()));
    if (corrupt_reads && !response.data().empty()) (*response.mutable_data())[0] ^= 1;
    writer->Write(response);
    return end < size ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut") : grpc::Status::OK;
  }
};

class FakeModels : public v1::ModelService::Service {
 public:
  std::map<std::string, v1::Model> models;  // by name
  v1::RegisterModelRequest registered;
  v1::Model answer;  // of RegisterModel

  grpc::Status RegisterModel(grpc::ServerContext*, const v1::RegisterModelRequest* request,
                             v1::Model* out) override {
    registered = *request;
    *out = answer;
    return grpc::Status::OK;
  }
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                        v1::Model* out) override {
    const auto found = models.find(request->name());
    if (found == models.end()) return ErrorWith(grpc::NOT_FOUND, "no model", "MODEL_NOT_FOUND");
    *out = found->second;
    return grpc::Status::OK;
  }
  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse* out) override {
    for (const auto& [name, model] : models) *out->add_models() = model;
    return grpc::Status::OK;
  }
};

class FakeDatasets : public v1::DatasetService::Service {
 public:
  std::map<std::string, v1::Dataset> datasets;  // by name
  grpc::Status GetDataset(grpc::ServerContext*, const v1::GetDatasetRequest* request,
                          v1::Dataset* out) override {
    const auto found = datasets.find(request->name());
    if (found == datasets.end()) {
      return ErrorWith(grpc::NOT_FOUND, "no dataset", "DATASET_NOT_FOUND");
    }
    *out = found->second;
    return grpc::Status::OK;
  }
  grpc::Status ListDatasets(grpc::ServerContext*, const v1::ListDatasetsRequest*,
                            v1::ListDatasetsResponse* out) override {
    for (const auto& [name, dataset] : datasets) *out->add_datasets() = dataset;
    return grpc::Status::OK;
  }
};

class FakeSystem : public v1::SystemService::Service {
 public:
  v1::Capabilities capabilities;
  v1::ServerStatus status;
  v1::DrainServerRequest drain;
  int capability_calls = 0;

  grpc::Status GetServerStatus(grpc::ServerContext*, const v1::GetServerStatusRequest*,
                               v1::ServerStatus* out) override {
    *out = status;
    return grpc::Status::OK;
  }
  grpc::Status DrainServer(grpc::ServerContext*, const v1::DrainServerRequest* request,
                           v1::ServerStatus* out) override {
    drain = *request;
    status.set_draining(true);
    *out = status;
    return grpc::Status::OK;
  }
  grpc::Status UndrainServer(grpc::ServerContext*, const v1::UndrainServerRequest*,
                             v1::ServerStatus* out) override {
    status.set_draining(false);
    *out = status;
    return grpc::Status::OK;
  }
  grpc::Status GetCapabilities(grpc::ServerContext*, const v1::GetCapabilitiesRequest*,
                               v1::Capabilities* out) override {
    ++capability_calls;
    *out = capabilities;
    return grpc::Status::OK;
  }
};

// All services of adamantd on a free port of the loopback interface. Script the members before the
// calls and read them after; they are not locked.
class FakeServer {
 public:
  explicit FakeServer(const std::shared_ptr<grpc::ServerCredentials>& credentials =
                          grpc::InsecureServerCredentials()) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", credentials, &port);
    for (grpc::Service* service :
         std::initializer_list<grpc::Service*>{&jobs, &blobs, &models, &datasets, &system}) {
      builder.RegisterService(service);
    }
    builder.SetMaxReceiveMessageSize(5 << 20);
    server_ = builder.BuildAndStart();
    address = "127.0.0.1:" + std::to_string(port);
  }
  ~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

  // A client that tries again quickly.
  std::unique_ptr<Client> MakeClient(ClientOptions options = {}) const {
    options.first_backoff = absl::Milliseconds(1);
    return *Client::Create(address, options);
  }

  FakeJobs jobs;
  FakeBlobs blobs;
  FakeModels models;
  FakeDatasets datasets;
  FakeSystem system;
  std::string address;

 private:
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace adamant::testing
