// SPDX-License-Identifier: Apache-2.0
#include "server/api/submitter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "server/api/result_cache.h"
#include "server/api/spec_checker.h"
#include "server/api/spec_resolver.h"
#include "server/api/status.h"
#include "server/jobs/job.h"
#include "server/store/await.h"

namespace adamant {

v1::SubmitOptions RetryOptions(const v1::SubmitOptions& old, const v1::SubmitOptions& wanted) {
  v1::SubmitOptions merged = old;
  merged.set_request_id(wanted.request_id());
  merged.set_validate_only(wanted.validate_only());
  merged.set_start_paused(wanted.start_paused());
  merged.set_cache(wanted.cache());
  if (!wanted.display_name().empty()) merged.set_display_name(wanted.display_name());
  if (!wanted.labels().empty()) *merged.mutable_labels() = wanted.labels();
  if (wanted.priority() != 0) merged.set_priority(wanted.priority());
  if (wanted.has_resources()) *merged.mutable_resources() = wanted.resources();
  if (wanted.has_max_run_time()) *merged.mutable_max_run_time() = wanted.max_run_time();
  if (wanted.has_queue_timeout()) *merged.mutable_queue_timeout() = wanted.queue_timeout();
  if (wanted.has_retry_policy()) *merged.mutable_retry_policy() = wanted.retry_policy();
  if (wanted.has_retention()) *merged.mutable_retention() = wanted.retention();
  return merged;
}

absl::Status Submitter::Check(v1::JobSpec& spec, v1::SubmitOptions& options) {
  RETURN_IF_ERROR(gate_.Submit(kLocalTenant, absl::Now()));
  if (!options.validate_only()) RETURN_IF_ERROR(parts_.storage_admission());
  SpecChecker checker(parts_.catalog);
  checker.CheckSpec(spec);
  checker.CheckOptions(options, /*admin=*/true);  // everybody is, in local mode
  RETURN_IF_ERROR(ViolationStatus(checker.violations()));
  return SpecResolver(parts_.store, kLocalTenant).Resolve(spec);
}

// A request_id that was used before leads to its own job, not to the newest one.
absl::StatusOr<v1::Job> Submitter::FindCached(const v1::JobSpec& spec,
                                              const v1::SubmitOptions& options) {
  if (options.cache() != v1::CACHE_USE) return absl::NotFoundError("not asked for");
  if (!options.request_id().empty()) {
    const absl::StatusOr<std::string> used = Await<std::string>([&](Reply<std::string> reply) {
      parts_.store.FindRequest(kLocalTenant, options.request_id(), std::move(reply));
    });
    if (!absl::IsNotFound(used.status())) return absl::NotFoundError("used before");
  }
  return FindCachedResult(parts_.store, kLocalTenant, spec);
}

void Submitter::Store(v1::JobSpec spec, v1::SubmitOptions options, const std::string& retry_of,
                      Reply<v1::Job> reply) {
  const v1::JobKind kind = KindOf(spec);
  if (absl::Status status = Check(spec, options); !status.ok()) {
    parts_.metrics.JobSubmitted(kind, "rejected");
    return reply(std::move(status));
  }
  const bool validate_only = options.validate_only();
  if (absl::StatusOr<v1::Job> cached = FindCached(spec, options); cached.ok() && !validate_only) {
    parts_.metrics.JobSubmitted(kind, "deduplicated");
    return reply(std::move(cached));
  }
  NewJob job = MakeJob(std::move(spec), std::move(options), kLocalTenant, kLocalOwner, absl::Now());
  if (validate_only) {
    job.job.clear_name();
    return reply(std::move(job.job));
  }
  if (!retry_of.empty()) {
    job.job.set_retry_of(retry_of);
    job.content_digest = Sha256Hex(absl::StrCat(job.content_digest, retry_of));
  }
  parts_.scheduler.Submit(std::move(job), [this, kind, reply = std::move(reply)](
                                              absl::StatusOr<SubmittedJob> submitted) {
    if (!submitted.ok()) {
      parts_.metrics.JobSubmitted(kind, "rejected");
      return reply(submitted.status());
    }
    parts_.metrics.JobSubmitted(kind, submitted->deduplicated ? "deduplicated" : "accepted");
    parts_.scheduler.Decorate(submitted->job);
    reply(std::move(submitted->job));
  });
}

void Submitter::Submit(v1::JobSpec spec, v1::SubmitOptions options, Reply<v1::Job> reply) {
  Store(std::move(spec), std::move(options), "", std::move(reply));
}

void Submitter::Retry(const v1::RetryJobRequest& request, Reply<v1::Job> reply) {
  absl::StatusOr<std::string> uid = JobUid(request.name());
  if (!uid.ok()) return reply(uid.status());
  absl::StatusOr<v1::Job> old = Await<v1::Job>([&](Reply<v1::Job> found) {
    parts_.store.GetJob(kLocalTenant, *std::move(uid), std::move(found));
  });
  if (!old.ok()) return reply(old.status());
  if (!IsTerminal(old->state())) {
    const std::string state = v1::JobState_Name(old->state());
    return reply(WithReason(absl::FailedPreconditionError(absl::StrCat(
                                old->name(), " is ", state,
                                ": only a job that has ended can be retried; cancel it first")),
                            "WRONG_STATE", {{"state", state}}));
  }
  Store(std::move(*old->mutable_spec()), RetryOptions(old->options(), request.options()),
        old->name(), std::move(reply));
}

}  // namespace adamant
