// SPDX-License-Identifier: Apache-2.0
#include "server/api/robustness_service.h"

#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "server/api/explain_call.h"
#include "server/api/job_filter.h"
#include "server/api/log_stream.h"
#include "server/api/metric_points.h"
#include "server/api/unary.h"
#include "server/api/wait_call.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

// The keyset position of a list of jobs as text: "<create nanoseconds> <uid>".
absl::Status ReadPosition(const std::string& position, JobListQuery& query) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(position, absl::MaxSplits(' ', 1));
  if (!absl::SimpleAtoi(parts.first, &query.after_create_nanos))
    return absl::InternalError("a sealed page token holds no position");
  query.after_uid = std::string(parts.second);
  return absl::OkStatus();
}

// A list shows headers: what is large is left out.
void KeepHeader(v1::Job& job) {
  job.clear_result();
  job.clear_artifacts();
  if (!job.spec().has_explain()) return;
  for (v1::InlineImage& image : *job.mutable_spec()->mutable_explain()->mutable_images())
    image.clear_data();
}

// Scheduler::Decorate has nothing to add.
bool IsShownAsStored(const v1::Job& job) {
  return !HasWorker(job.state()) && job.state() != v1::QUEUED;
}

template <typename Message>
bool Parse(grpc::ByteBuffer bytes, Message& message) {
  return grpc::SerializationTraits<Message>::Deserialize(&bytes, &message).ok();
}

grpc::Status Serialize(const v1::Job& job, grpc::ByteBuffer& bytes) {
  bool own = false;
  return grpc::SerializationTraits<v1::Job>::Serialize(job, &bytes, &own);
}

absl::Status NotARequest(absl::string_view type) {
  return InvalidField("request", "INVALID_SPEC", absl::StrCat("is not a ", type));
}

}  // namespace

grpc::ServerUnaryReactor* RobustnessServiceImpl::Submit(grpc::CallbackServerContext* context,
                                                        v1::JobSpec spec,
                                                        const v1::SubmitOptions& options,
                                                        v1::Job* response) {
  CallOf(context).request_id = options.request_id();
  return ReplyOn<v1::Job>(parts_.calls, context, response,
                          [this, spec = std::move(spec), &options](Reply<v1::Job> reply) mutable {
                            submitter_.Submit(std::move(spec), options, std::move(reply));
                          });
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::TrainJob(grpc::CallbackServerContext* context,
                                                          const v1::TrainJobRequest* request,
                                                          v1::Job* response) {
  if (auto* const refused = Refuse(context)) return refused;
  v1::JobSpec spec;
  *spec.mutable_train() = request->spec();
  return Submit(context, std::move(spec), request->options(), response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::AttackJob(grpc::CallbackServerContext* context,
                                                           const v1::AttackJobRequest* request,
                                                           v1::Job* response) {
  if (auto* const refused = Refuse(context)) return refused;
  v1::JobSpec spec;
  *spec.mutable_attack() = request->spec();
  return Submit(context, std::move(spec), request->options(), response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::ExplainJob(grpc::CallbackServerContext* context,
                                                            const v1::ExplainJobRequest* request,
                                                            v1::Job* response) {
  if (auto* const refused = Refuse(context)) return refused;
  v1::JobSpec spec;
  *spec.mutable_explain() = request->spec();
  return Submit(context, std::move(spec), request->options(), response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::RetryJob(grpc::CallbackServerContext* context,
                                                          const v1::RetryJobRequest* request,
                                                          v1::Job* response) {
  if (auto* const refused = Refuse(context)) return refused;
  CallOf(context).request_id = request->options().request_id();
  return ReplyOn<v1::Job>(parts_.calls, context, response, [this, request](Reply<v1::Job> reply) {
    submitter_.Retry(*request, std::move(reply));
  });
}

// As bytes, so that a job that is answered as it is stored is not copied: most that are asked for
// have ended, and results are large.
grpc::ServerUnaryReactor* RobustnessServiceImpl::GetJob(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request,
                                                        grpc::ByteBuffer* response) {
  if (auto* const refused = Refuse(context)) return refused;
  v1::GetJobRequest parsed;
  if (!Parse(*request, parsed)) return Answer(context, NotARequest("GetJobRequest"));
  absl::StatusOr<std::string> uid = JobUid(parsed.name());
  if (!uid.ok()) return Answer(context, uid.status());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  std::shared_ptr<const v1::Job> stored;
  if (memory_ != nullptr) stored = memory_->FindInMemory(kLocalTenant, *uid);
  if (stored != nullptr && IsShownAsStored(*stored)) {
    reactor->Finish(Serialize(*stored, *response));
    return reactor;
  }
  parts_.store.GetJob(kLocalTenant, *std::move(uid),
                      [this, reactor, response](absl::StatusOr<v1::Job> job) {
                        if (!job.ok()) return reactor->Finish(ToGrpc(job.status()));
                        parts_.scheduler.Decorate(*job);
                        reactor->Finish(Serialize(*job, *response));
                      });
  return reactor;
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::ListJobs(grpc::CallbackServerContext* context,
                                                          const v1::ListJobsRequest* request,
                                                          v1::ListJobsResponse* response) {
  if (auto* const refused = Refuse(context)) return refused;
  JobListQuery query;
  query.tenant = kLocalTenant;
  const std::string scope = absl::StrCat("ListJobs ", kLocalTenant, " ", request->filter());
  const auto prepare = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(query.page_size, PageSize(request->page_size()));
    ASSIGN_OR_RETURN(const JobFilter filter, JobFilter::Parse(request->filter()));
    if (!filter.empty())
      query.matches = [filter](const v1::Job& job) { return filter.Matches(job); };
    if (request->page_token().empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const std::string position,
                     parts_.tokens.Open(request->page_token(), scope, absl::Now()));
    return ReadPosition(position, query);
  };
  if (absl::Status status = prepare(); !status.ok()) return Answer(context, status);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  parts_.store.ListJobs(
      std::move(query), [this, scope, reactor, response](absl::StatusOr<JobPage> page) {
        if (!page.ok()) return reactor->Finish(ToGrpc(page.status()));
        for (v1::Job& job : page->jobs) {
          parts_.scheduler.Decorate(job);
          KeepHeader(job);
          *response->add_jobs() = std::move(job);
        }
        if (page->next_create_nanos != 0) {
          response->set_next_page_token(parts_.tokens.Seal(
              absl::StrCat(page->next_create_nanos, " ", page->next_uid), scope, absl::Now()));
        }
        reactor->Finish(grpc::Status::OK);
      });
  return reactor;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* RobustnessServiceImpl::WatchJob(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  if (auto* const refused = RefuseStream<grpc::ByteBuffer>(context)) return refused;
  v1::WatchJobRequest parsed;
  if (Parse(*request, parsed)) return watches_.Open(context, parsed);
  return new FailedWriteStream<grpc::ByteBuffer>(NotARequest("WatchJobRequest"));
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::WaitJob(grpc::CallbackServerContext* context,
                                                         const v1::WaitJobRequest* request,
                                                         v1::Job* response) {
  if (auto* const refused = Refuse(context)) return refused;
  return StartWait(parts_, *request, response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::Run(Verb verb,
                                                     grpc::CallbackServerContext* context,
                                                     const v1::JobVerbRequest& request,
                                                     v1::Job* response) {
  if (auto* const refused = Refuse(context)) return refused;
  absl::StatusOr<std::string> uid = JobUid(request.name());
  if (!uid.ok()) return Answer(context, uid.status());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  (parts_.scheduler.*verb)(kLocalTenant, *std::move(uid), request.etag(),
                           AnswerWith<v1::Job>(reactor, response, Decorator()));
  return reactor;
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::CancelJob(grpc::CallbackServerContext* context,
                                                           const v1::JobVerbRequest* request,
                                                           v1::Job* response) {
  return Run(&Scheduler::Cancel, context, *request, response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::PauseJob(grpc::CallbackServerContext* context,
                                                          const v1::JobVerbRequest* request,
                                                          v1::Job* response) {
  return Run(&Scheduler::Pause, context, *request, response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::ResumeJob(grpc::CallbackServerContext* context,
                                                           const v1::JobVerbRequest* request,
                                                           v1::Job* response) {
  return Run(&Scheduler::Resume, context, *request, response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::DeleteJob(grpc::CallbackServerContext* context,
                                                           const v1::JobVerbRequest* request,
                                                           google::protobuf::Empty* /*response*/) {
  if (auto* const refused = Refuse(context)) return refused;
  absl::StatusOr<std::string> uid = JobUid(request->name());
  if (!uid.ok()) return Answer(context, uid.status());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  parts_.scheduler.Delete(
      kLocalTenant, *std::move(uid), request->etag(),
      [reactor](absl::StatusOr<Done> done) { reactor->Finish(ToGrpc(done.status())); });
  return reactor;
}

grpc::ServerWriteReactor<v1::ReadLogResponse>* RobustnessServiceImpl::ReadLog(
    grpc::CallbackServerContext* context, const v1::ReadLogRequest* request) {
  if (auto* const refused = RefuseStream<v1::ReadLogResponse>(context)) return refused;
  return StartReadLog(parts_, *request);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::ListMetricPoints(
    grpc::CallbackServerContext* context, const v1::ListMetricPointsRequest* request,
    v1::ListMetricPointsResponse* response) {
  if (auto* const refused = Refuse(context)) return refused;
  return ReplyOn<v1::ListMetricPointsResponse>(
      parts_.calls, context, response, [this, request](Reply<v1::ListMetricPointsResponse> reply) {
        reply(adamant::ListMetricPoints(parts_, *request));
      });
}

std::function<void(v1::Job&)> RobustnessServiceImpl::Decorator() {
  return [this](v1::Job& job) { parts_.scheduler.Decorate(job); };
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::Explain(grpc::CallbackServerContext* context,
                                                         const v1::ExplainRequest* request,
                                                         v1::ExplainResponse* response) {
  if (auto* const refused = Refuse(context)) return refused;
  return StartExplain(parts_, context, *request, response);
}

}  // namespace adamant
