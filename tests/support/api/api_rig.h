// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adamant/v1/blob.grpc.pb.h"
#include "adamant/v1/dataset.grpc.pb.h"
#include "adamant/v1/model.grpc.pb.h"
#include "adamant/v1/robustness_service.grpc.pb.h"
#include "adamant/v1/system.grpc.pb.h"
#include "common/error_reason.h"
#include "common/sha256.h"
#include "server/api/api_server.h"
#include "server/api/status.h"
#include "server/telemetry/log.h"
#include "tests/support/api/test_catalog.h"
#include "tests/support/workers/fake_training.h"
#include "tests/support/workers/job_rig.h"

namespace adamant::testing {

struct ApiRigOptions {
  ApiLimits limits = {};
  std::vector<std::string> listen = {};  // also on these addresses
  LocalBlobOptions blobs = {};
  std::function<void(ServiceParts&)> adjust = {};  // may change the parts before the server starts
};

// The whole server over an in-process channel, with the fake worker and the test catalogue.
class ApiRig {
 public:
  explicit ApiRig(const ApiRigOptions& options = {}) : jobs(options.blobs) {
    EXPECT_TRUE(SetUpLog("error", "text").ok());
    jobs.StartScheduler();
    interactive.emplace(jobs.store(), jobs.blobs(), jobs.workers(), jobs.scheduler());
    parts_.emplace(ServiceParts{jobs.store(), jobs.blobs(), jobs.scheduler(), jobs.hub(), metrics,
                                catalog, tokens_, calls_, disk_, streams_, timers_,
                                jobs.options.log_folder});
    parts_->interactive = &*interactive;
    parts_->limits = options.limits;
    parts_->storage_admission = [this] { return storage; };
    if (options.adjust) options.adjust(*parts_);
    auto started = ApiServer::Start(
        *parts_, {.listen = options.listen,
                  .facts = {.version = "1", .commit = "c", .sqlite_version = "3"}});
    EXPECT_TRUE(started.ok()) << started.status();
    api = *std::move(started);
    const auto channel = api->InProcessChannel();
    robustness = v1::RobustnessService::NewStub(channel);
    blobs = v1::BlobService::NewStub(channel);
    models = v1::ModelService::NewStub(channel);
    datasets = v1::DatasetService::NewStub(channel);
    system = v1::SystemService::NewStub(channel);
  }

  ~ApiRig() {
    interactive->Close();
    api.reset();
    streams_.Stop();
    disk_.Stop();
    calls_.Stop();
  }

  // A training that tells the fake worker what to do.
  static v1::TrainJobRequest Training(FakeTask task) { return FakeTraining(task); }

  v1::Job Submit(FakeTask task) {
    v1::Job job;
    grpc::ClientContext context;
    const grpc::Status status = robustness->TrainJob(&context, Training(task), &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }

  // Uploads in one message; the whole of `bytes` unless another name is declared.
  grpc::Status Upload(const std::string& bytes, const std::string& declared = "",
                      int64_t offset = 0, bool finish = true) {
    v1::WriteRequest request;
    request.set_resource_name("uploads/01234567-89ab-4cde-8f01-23456789abcd/" +
                              (declared.empty() ? NameOf(bytes) : declared));
    request.set_write_offset(offset);
    request.set_data(bytes);
    request.set_finish_write(finish);
    grpc::ClientContext context;
    const auto writer = blobs->Write(&context, &written);
    writer->Write(request);
    writer->WritesDone();
    return writer->Finish();
  }

  static v1::BlobRef RefOf(const std::string& bytes) {
    v1::BlobRef blob;
    blob.set_sha256(Sha256Hex(bytes));
    blob.set_size_bytes(static_cast<int64_t>(bytes.size()));
    return blob;
  }

  static std::string NameOf(const std::string& bytes) {
    return "blobs/" + Sha256Hex(bytes) + "/" + std::to_string(bytes.size());
  }

  // A verb of CancelJob's shape.
  using Verb = grpc::Status (v1::RobustnessService::Stub::*)(grpc::ClientContext*,
                                                             const v1::JobVerbRequest&, v1::Job*);
  grpc::Status Call(Verb verb, const std::string& name, v1::Job& job,
                    const std::string& etag = "") {
    v1::JobVerbRequest request;
    request.set_name(name);
    request.set_etag(etag);
    grpc::ClientContext context;
    return ((*robustness).*verb)(&context, request, &job);
  }

  ServiceParts& parts() { return *parts_; }

  absl::Status storage;  // what the disk says to submits; change it while no call runs
  JobRig jobs;
  std::optional<InteractivePool> interactive;
  worker::v1::Catalog catalog = TestCatalog();
  Metrics metrics{{.version = "1", .slots = 1}};
  v1::WriteResponse written;
  std::unique_ptr<ApiServer> api;
  std::unique_ptr<v1::RobustnessService::Stub> robustness;
  std::unique_ptr<v1::BlobService::Stub> blobs;
  std::unique_ptr<v1::ModelService::Stub> models;
  std::unique_ptr<v1::DatasetService::Stub> datasets;
  std::unique_ptr<v1::SystemService::Stub> system;

 private:
  const PageTokens tokens_{std::string(32, 'k')};
  TaskPool calls_{2, 100};
  TaskPool disk_{2, 100};
  TaskPool streams_{1, 1000};
  Timers timers_;
  std::optional<ServiceParts> parts_;
};

inline std::string Reason(const grpc::Status& status) { return ReasonOf(FromGrpc(status)); }

}  // namespace adamant::testing
