// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "adamant/v1/robustness_service.grpc.pb.h"
#include "server/api/call_gate.h"
#include "server/api/service_parts.h"
#include "server/api/submitter.h"
#include "server/api/watch_stream.h"
#include "server/store/job_memory.h"

namespace adamant {

// Jobs; see robustness_service.proto. Thread-safe.
class RobustnessServiceImpl : public v1::RobustnessService::WithRawCallbackMethod_GetJob<
                                  v1::RobustnessService::WithRawCallbackMethod_WatchJob<
                                      v1::RobustnessService::CallbackService>> {
 public:
  // Both are borrowed.
  RobustnessServiceImpl(ServiceParts& parts, CallGate& gate)
      : parts_(parts),
        memory_(dynamic_cast<const JobMemory*>(&parts.store)),
        submitter_(parts, gate),
        watches_(parts) {}

  grpc::ServerUnaryReactor* TrainJob(grpc::CallbackServerContext* context,
                                     const v1::TrainJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* AttackJob(grpc::CallbackServerContext* context,
                                      const v1::AttackJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* ExplainJob(grpc::CallbackServerContext* context,
                                       const v1::ExplainJobRequest* request,
                                       v1::Job* response) override;
  grpc::ServerUnaryReactor* RetryJob(grpc::CallbackServerContext* context,
                                     const v1::RetryJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchJob(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* WaitJob(grpc::CallbackServerContext* context,
                                    const v1::WaitJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::JobVerbRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* PauseJob(grpc::CallbackServerContext* context,
                                     const v1::JobVerbRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* ResumeJob(grpc::CallbackServerContext* context,
                                      const v1::JobVerbRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* DeleteJob(grpc::CallbackServerContext* context,
                                      const v1::JobVerbRequest* request,
                                      google::protobuf::Empty* response) override;
  grpc::ServerWriteReactor<v1::ReadLogResponse>* ReadLog(
      grpc::CallbackServerContext* context, const v1::ReadLogRequest* request) override;
  grpc::ServerUnaryReactor* ListMetricPoints(grpc::CallbackServerContext* context,
                                             const v1::ListMetricPointsRequest* request,
                                             v1::ListMetricPointsResponse* response) override;

  grpc::ServerUnaryReactor* Explain(grpc::CallbackServerContext* context,
                                    const v1::ExplainRequest* request,
                                    v1::ExplainResponse* response) override;

 private:
  using Verb = void (Scheduler::*)(std::string tenant, std::string uid, std::string etag,
                                   Reply<v1::Job> reply);
  grpc::ServerUnaryReactor* Submit(grpc::CallbackServerContext* context, v1::JobSpec spec,
                                   const v1::SubmitOptions& options, v1::Job* response);
  grpc::ServerUnaryReactor* Run(Verb verb, grpc::CallbackServerContext* context,
                                const v1::JobVerbRequest& request, v1::Job* response);

  std::function<void(v1::Job&)> Decorator();

  ServiceParts& parts_;
  const JobMemory* const memory_;  // null when the store has none
  Submitter submitter_;
  WatchStreams watches_;
};

}  // namespace adamant
