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
#include "server/api/spec_checker.h"
#include "server/api/spec_resolver.h"
#include "server/api/unary.h"
#include "server/api/wait_call.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr char kLocalOwner[] = "local";

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

}  // namespace

absl::Status RobustnessServiceImpl::CheckSubmit(v1::JobSpec& spec, v1::SubmitOptions& options) {
  SpecChecker checker(parts_.catalog);
  checker.CheckSpec(spec);
  checker.CheckOptions(options);
  RETURN_IF_ERROR(ViolationStatus(checker.violations()));
  return SpecResolver(parts_.store, kLocalTenant).Resolve(spec);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::Submit(grpc::CallbackServerContext* context,
                                                        v1::JobSpec spec,
                                                        const v1::SubmitOptions& options,
                                                        v1::Job* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto work = [this, reactor, response, spec = std::move(spec),
                     options = v1::SubmitOptions(options)]() mutable {
    const v1::JobKind kind = KindOf(spec);
    if (absl::Status status = CheckSubmit(spec, options); !status.ok()) {
      parts_.metrics.JobSubmitted(kind, "rejected");
      return reactor->Finish(ToGrpc(status));
    }
    const bool validate_only = options.validate_only();
    NewJob job =
        MakeJob(std::move(spec), std::move(options), kLocalTenant, kLocalOwner, absl::Now());
    if (validate_only) {
      *response = std::move(job.job);
      response->clear_name();
      return reactor->Finish(grpc::Status::OK);
    }
    parts_.scheduler.Submit(
        std::move(job), [this, kind, reactor, response](absl::StatusOr<SubmittedJob> submitted) {
          const char* outcome = "rejected";
          if (submitted.ok()) {
            outcome = submitted->deduplicated ? "deduplicated" : "accepted";
            *response = std::move(submitted->job);
            parts_.scheduler.Decorate(*response);
          }
          parts_.metrics.JobSubmitted(kind, outcome);
          reactor->Finish(ToGrpc(submitted.status()));
        });
  };
  if (!parts_.calls.Run(work)) reactor->Finish(ToGrpc(OverloadedStatus()));
  return reactor;
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::TrainJob(grpc::CallbackServerContext* context,
                                                          const v1::TrainJobRequest* request,
                                                          v1::Job* response) {
  v1::JobSpec spec;
  *spec.mutable_train() = request->spec();
  return Submit(context, std::move(spec), request->options(), response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::AttackJob(grpc::CallbackServerContext* context,
                                                           const v1::AttackJobRequest* request,
                                                           v1::Job* response) {
  v1::JobSpec spec;
  *spec.mutable_attack() = request->spec();
  return Submit(context, std::move(spec), request->options(), response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::ExplainJob(grpc::CallbackServerContext* context,
                                                            const v1::ExplainJobRequest* request,
                                                            v1::Job* response) {
  v1::JobSpec spec;
  *spec.mutable_explain() = request->spec();
  return Submit(context, std::move(spec), request->options(), response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::GetJob(grpc::CallbackServerContext* context,
                                                        const v1::GetJobRequest* request,
                                                        v1::Job* response) {
  absl::StatusOr<std::string> uid = JobUid(request->name());
  if (!uid.ok()) return Answer(context, uid.status());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  parts_.store.GetJob(kLocalTenant, *std::move(uid),
                      AnswerWith<v1::Job>(reactor, response, [this](v1::Job& job) {
                        parts_.scheduler.Decorate(job);
                      }));
  return reactor;
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::ListJobs(grpc::CallbackServerContext* context,
                                                          const v1::ListJobsRequest* request,
                                                          v1::ListJobsResponse* response) {
  JobListQuery query;
  query.tenant = kLocalTenant;
  const std::string scope = absl::StrCat("ListJobs ", kLocalTenant, " ", request->filter());
  const auto prepare = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(query.page_size, PageSize(request->page_size()));
    ASSIGN_OR_RETURN(query.matches, ParseJobFilter(request->filter()));
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

grpc::ServerWriteReactor<v1::JobEvent>* RobustnessServiceImpl::WatchJob(
    grpc::CallbackServerContext* context, const v1::WatchJobRequest* request) {
  return watches_.Open(context, *request);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::WaitJob(grpc::CallbackServerContext* /*context*/,
                                                         const v1::WaitJobRequest* request,
                                                         v1::Job* response) {
  return StartWait(parts_, *request, response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::CancelJob(grpc::CallbackServerContext* context,
                                                           const v1::JobVerbRequest* request,
                                                           v1::Job* response) {
  absl::StatusOr<std::string> uid = JobUid(request->name());
  if (!uid.ok()) return Answer(context, uid.status());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  parts_.scheduler.Cancel(kLocalTenant, *std::move(uid), request->etag(),
                          AnswerWith<v1::Job>(reactor, response, [this](v1::Job& job) {
                            parts_.scheduler.Decorate(job);
                          }));
  return reactor;
}

grpc::ServerWriteReactor<v1::ReadLogResponse>* RobustnessServiceImpl::ReadLog(
    grpc::CallbackServerContext* /*context*/, const v1::ReadLogRequest* request) {
  return StartReadLog(parts_, *request);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::Explain(grpc::CallbackServerContext* context,
                                                         const v1::ExplainRequest* request,
                                                         v1::ExplainResponse* response) {
  return StartExplain(parts_, context, *request, response);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::PauseJob(grpc::CallbackServerContext* context,
                                                          const v1::JobVerbRequest* /*request*/,
                                                          v1::Job* /*response*/) {
  return NotServed(context);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::ResumeJob(grpc::CallbackServerContext* context,
                                                           const v1::JobVerbRequest* /*request*/,
                                                           v1::Job* /*response*/) {
  return NotServed(context);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::RetryJob(grpc::CallbackServerContext* context,
                                                          const v1::RetryJobRequest* /*request*/,
                                                          v1::Job* /*response*/) {
  return NotServed(context);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::DeleteJob(grpc::CallbackServerContext* context,
                                                           const v1::JobVerbRequest* /*request*/,
                                                           google::protobuf::Empty* /*response*/) {
  return NotServed(context);
}

grpc::ServerUnaryReactor* RobustnessServiceImpl::ListMetricPoints(
    grpc::CallbackServerContext* context, const v1::ListMetricPointsRequest* /*request*/,
    v1::ListMetricPointsResponse* /*response*/) {
  return NotServed(context);
}

}  // namespace adamant
