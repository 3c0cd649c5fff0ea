// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "adamant/v1/robustness_service.grpc.pb.h"
#include "server/api/service_parts.h"
#include "server/api/watch_stream.h"

namespace adamant {

// Jobs; see robustness_service.proto. Thread-safe.
class RobustnessServiceImpl : public v1::RobustnessService::CallbackService {
 public:
  explicit RobustnessServiceImpl(ServiceParts& parts) : parts_(parts), watches_(parts) {}

  // Drain: says GOING_AWAY to the watchers and ends their streams.
  void GoAway() { watches_.GoAway(); }

  grpc::ServerUnaryReactor* TrainJob(grpc::CallbackServerContext* context,
                                     const v1::TrainJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* AttackJob(grpc::CallbackServerContext* context,
                                      const v1::AttackJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* ExplainJob(grpc::CallbackServerContext* context,
                                       const v1::ExplainJobRequest* request,
                                       v1::Job* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const v1::GetJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerWriteReactor<v1::JobEvent>* WatchJob(grpc::CallbackServerContext* context,
                                                   const v1::WatchJobRequest* request) override;
  grpc::ServerUnaryReactor* WaitJob(grpc::CallbackServerContext* context,
                                    const v1::WaitJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::JobVerbRequest* request,
                                      v1::Job* response) override;
  grpc::ServerWriteReactor<v1::ReadLogResponse>* ReadLog(
      grpc::CallbackServerContext* context, const v1::ReadLogRequest* request) override;

  // Not served by this release.
  grpc::ServerUnaryReactor* Explain(grpc::CallbackServerContext* context,
                                    const v1::ExplainRequest* request,
                                    v1::ExplainResponse* response) override;
  grpc::ServerUnaryReactor* PauseJob(grpc::CallbackServerContext* context,
                                     const v1::JobVerbRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ResumeJob(grpc::CallbackServerContext* context,
                                      const v1::JobVerbRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* RetryJob(grpc::CallbackServerContext* context,
                                     const v1::RetryJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* DeleteJob(grpc::CallbackServerContext* context,
                                      const v1::JobVerbRequest* request,
                                      google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* ListMetricPoints(grpc::CallbackServerContext* context,
                                             const v1::ListMetricPointsRequest* request,
                                             v1::ListMetricPointsResponse* response) override;

 private:
  grpc::ServerUnaryReactor* Submit(grpc::CallbackServerContext* context, v1::JobSpec spec,
                                   const v1::SubmitOptions& options, v1::Job* response);
  absl::Status CheckSubmit(v1::JobSpec& spec, v1::SubmitOptions& options);

  ServiceParts& parts_;
  WatchStreams watches_;
};

}  // namespace adamant
