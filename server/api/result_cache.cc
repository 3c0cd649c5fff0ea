// SPDX-License-Identifier: Apache-2.0
#include "server/api/result_cache.h"

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "server/jobs/job.h"
#include "server/store/await.h"

namespace adamant {
namespace {

template <typename Resource>
absl::StatusOr<absl::Time> CreateTime(ResourceTable<Resource>& table, const std::string& tenant,
                                      const std::string& name) {
  ASSIGN_OR_RETURN(const Resource resource, Await<Resource>([&](Reply<Resource> reply) {
                     table.Get(tenant, name, std::move(reply));
                   }));
  return FromProto(resource.create_time());
}

// Since when the inputs that a spec names have been what they are.
absl::StatusOr<absl::Time> InputsSince(JobStore& store, const std::string& tenant,
                                       const v1::JobSpec& spec) {
  absl::Time since = absl::InfinitePast();
  for (const std::string& name : ReferencesOf(spec)) {
    ASSIGN_OR_RETURN(const absl::Time created,
                     absl::StartsWith(name, "models/")
                         ? CreateTime<v1::Model>(store.models(), tenant, name)
                         : CreateTime<v1::Dataset>(store.datasets(), tenant, name));
    since = std::max(since, created);
  }
  if (!ModelSourceOf(spec).has_checkpoint()) return since;
  ASSIGN_OR_RETURN(const std::string uid, JobUid(ModelSourceOf(spec).checkpoint().job()));
  ASSIGN_OR_RETURN(const v1::Job training, Await<v1::Job>([&](Reply<v1::Job> reply) {
                     store.GetJob(tenant, uid, std::move(reply));
                   }));
  if (!IsTerminal(training.state())) return absl::InfiniteFuture();  // it may keep other weights
  return std::max(since, FromProto(training.end_time()));
}

}  // namespace

absl::StatusOr<v1::Job> FindCachedResult(JobStore& store, const std::string& tenant,
                                         const v1::JobSpec& spec) {
  ASSIGN_OR_RETURN(v1::Job job, Await<v1::Job>([&](Reply<v1::Job> reply) {
                     store.FindResult(tenant, SpecDigest(spec), std::move(reply));
                   }));
  ASSIGN_OR_RETURN(const absl::Time since, InputsSince(store, tenant, spec));
  if (FromProto(job.create_time()) < since) return absl::NotFoundError("the inputs are newer");
  return job;
}

}  // namespace adamant
