// SPDX-License-Identifier: Apache-2.0
#include "server/api/system_service.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "common/blob_name.h"
#include "common/sha256.h"
#include "server/api/blob_upload.h"
#include "server/api/unary.h"
#include "server/jobs/job.h"
#include "server/telemetry/process_sample.h"

namespace adamant {
namespace {

constexpr char kSandboxLevel[] = "none";
constexpr int kMaxQueuedJobsPerTenant = 1000;
constexpr int kMaxOpenUploads = 4;  // per tenant

v1::Limits MakeLimits(const ApiLimits& api) {
  v1::Limits limits;
  limits.set_max_blob_bytes(kMaxBlobBytes);
  limits.set_max_chunk_bytes(kMaxChunkBytes);
  limits.set_max_inline_bytes(1 << 20);
  limits.set_max_message_bytes(5 << 20);
  limits.set_default_page_size(50);
  limits.set_max_page_size(1000);
  limits.set_min_priority(-100);
  limits.set_max_priority(100);
  limits.set_max_queued_jobs(SchedulerOptions().max_queued_jobs);
  limits.set_max_queued_jobs_per_tenant(kMaxQueuedJobsPerTenant);
  limits.set_max_open_uploads(kMaxOpenUploads);
  limits.set_max_watchers(std::min(api.max_watchers, api.max_watchers_per_tenant));
  return limits;
}

}  // namespace

SystemServiceImpl::SystemServiceImpl(ServiceParts& parts, const ServerFacts& facts,
                                     std::function<void(bool)> set_serving)
    : parts_(parts), start_time_(ToProto(absl::Now())), set_serving_(std::move(set_serving)) {
  v1::Capabilities& all = capabilities_;
  all.set_version(facts.version);
  all.set_commit(facts.commit);
  all.set_libtorch_version(parts.catalog.libtorch_version());
  all.set_grpc_version(grpc::Version());
  all.set_sqlite_version(facts.sqlite_version);
  *all.mutable_families() = parts.catalog.families();
  all.add_model_formats("SAFETENSORS");
  if (parts.accept_torchscript) all.add_model_formats("TORCHSCRIPT");
  *all.mutable_limits() = MakeLimits(parts.limits);
  all.add_digest_functions("SHA256");
  *all.mutable_devices() = parts.catalog.devices();
  all.set_sandbox_level(kSandboxLevel);
  all.set_etag(Sha256Hex(all.SerializeAsString()).substr(0, 16));
}

void SystemServiceImpl::SetAddresses(const std::string& listen, const std::string& metrics) {
  absl::MutexLock lock(&mutex_);
  listen_address_ = listen;
  metrics_address_ = metrics;
}

grpc::ServerUnaryReactor* SystemServiceImpl::GetCapabilities(
    grpc::CallbackServerContext* context, const v1::GetCapabilitiesRequest* request,
    v1::Capabilities* response) {
  if (auto* const refused = Refuse(context)) return refused;
  if (request->etag() == capabilities_.etag()) {
    response->set_etag(capabilities_.etag());
  } else {
    *response = capabilities_;
  }
  return Answer(context, absl::OkStatus());
}

v1::ServerStatus SystemServiceImpl::Status() const {
  v1::ServerStatus status;
  status.set_version(capabilities_.version());
  *status.mutable_start_time() = start_time_;
  const SchedulerStatus scheduler = parts_.scheduler.status();
  status.set_draining(scheduler.draining);
  for (const v1::SlotStatus& slot : scheduler.slots) *status.add_slots() = slot;
  status.set_queued_jobs(scheduler.queued_jobs);
  status.set_running_jobs(scheduler.running_jobs);
  const BlobTotals blobs = parts_.blobs.totals();
  status.set_blob_bytes(blobs.bytes);
  status.set_blob_count(blobs.count);
  status.set_watchers(static_cast<int32_t>(parts_.hub.watchers()));
  status.set_sandbox_level(kSandboxLevel);
  status.set_rss_bytes(SampleProcess().resident_bytes);
  status.set_tenant(kLocalTenant);
  absl::MutexLock lock(&mutex_);
  status.set_listen_address(listen_address_);
  status.set_metrics_address(metrics_address_);
  return status;
}

grpc::ServerUnaryReactor* SystemServiceImpl::AnswerStatus(grpc::CallbackServerContext* context,
                                                          v1::ServerStatus* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  *response = Status();
  parts_.store.CountJobs([reactor, response](absl::StatusOr<int64_t> count) {
    if (count.ok()) response->set_stored_jobs(*count);
    reactor->Finish(ToGrpc(count.status()));
  });
  return reactor;
}

grpc::ServerUnaryReactor* SystemServiceImpl::GetServerStatus(
    grpc::CallbackServerContext* context, const v1::GetServerStatusRequest* /*request*/,
    v1::ServerStatus* response) {
  if (auto* const refused = Refuse(context)) return refused;
  return AnswerStatus(context, response);
}

void SystemServiceImpl::EndServing() {
  absl::MutexLock lock(&mutex_);
  ending_ = true;
  set_serving_(false);
}

grpc::ServerUnaryReactor* SystemServiceImpl::DrainServer(grpc::CallbackServerContext* context,
                                                         const v1::DrainServerRequest* request,
                                                         v1::ServerStatus* response) {
  if (auto* const refused = Refuse(context)) return refused;
  if (request->mode() != v1::DrainServerRequest::FINISH &&
      request->mode() != v1::DrainServerRequest::REQUEUE) {
    return Answer(context, InvalidField("mode", "INVALID_SPEC",
                                        "must be FINISH (running jobs end) or REQUEUE (they stop "
                                        "at a checkpoint and go on after the drain)"));
  }
  {
    absl::MutexLock lock(&mutex_);
    set_serving_(false);
    parts_.scheduler.StopAdmission();
    if (request->mode() == v1::DrainServerRequest::REQUEUE)
      parts_.scheduler.Requeue(parts_.limits.drain_grace);
  }
  return AnswerStatus(context, response);
}

grpc::ServerUnaryReactor* SystemServiceImpl::UndrainServer(
    grpc::CallbackServerContext* context, const v1::UndrainServerRequest* /*request*/,
    v1::ServerStatus* response) {
  if (auto* const refused = Refuse(context)) return refused;
  {
    absl::MutexLock lock(&mutex_);
    if (ending_) return Answer(context, DrainingStatus());
    parts_.scheduler.ResumeAdmission();
    set_serving_(true);
  }
  return AnswerStatus(context, response);
}

}  // namespace adamant
