// SPDX-License-Identifier: Apache-2.0
#include "client/cli/attack_shards.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/duration.h"
#include "client/cli/exit_code.h"
#include "client/cli/follow.h"
#include "client/cli/names.h"
#include "client/error.h"
#include "common/status_macros.h"

namespace adamant {
namespace {

std::string UidOf(const v1::Job& job) {
  return std::string(absl::StripPrefix(job.name(), "jobs/"));
}

std::string ShardText(const v1::Job& job) {
  const v1::Shard& shard = job.spec().attack().shard();
  return absl::StrCat("shard ", shard.index() + 1, " of ", shard.count());
}

std::string MergeCommand(const v1::ListJobsResponse& shards) {
  std::vector<std::string> uids;
  for (const v1::Job& job : shards.jobs()) uids.push_back(UidOf(job));
  return absl::StrCat("`adamant attack --merge ", absl::StrJoin(uids, ","), "`");
}

void SayHowToMerge(Session& session, const v1::ListJobsResponse& shards) {
  session.Note(absl::StrCat("once all have succeeded, merge them: ", MergeCommand(shards)));
}

void CancelAll(Session& session, Client& client, const v1::ListJobsResponse& shards) {
  for (const v1::Job& job : shards.jobs()) {
    // FAILED_PRECONDITION: it has ended.
    const absl::StatusOr<v1::Job> cancelled = client.CancelJob(job.name());
    if (!cancelled.ok() && !absl::IsFailedPrecondition(cancelled.status())) {
      session.Note(absl::StrCat(job.name(), " was not cancelled: ", cancelled.status().message()));
    }
  }
}

// All shards or none.
absl::StatusOr<v1::ListJobsResponse> SubmitAll(Session& session, int count,
                                               const v1::SubmitOptions& options, v1::JobSpec& job) {
  ASSIGN_OR_RETURN(Client * client, session.client());
  v1::ListJobsResponse shards;
  for (int i = 0; i < count; ++i) {
    v1::Shard& shard = *job.mutable_attack()->mutable_shard();
    shard.set_index(i);
    shard.set_count(count);
    v1::SubmitOptions own = options;
    if (!options.display_name().empty()) {
      own.set_display_name(absl::StrCat(options.display_name(), " ", i + 1, " of ", count));
    }
    absl::StatusOr<v1::Job> submitted = client->Submit(job, own);
    if (!submitted.ok()) {
      CancelAll(session, *client, shards);
      return submitted.status();
    }
    *shards.add_jobs() = *std::move(submitted);
  }
  return shards;
}

int FinishSubmitted(Session& session, const v1::ListJobsResponse& shards) {
  std::vector<std::string> names;
  for (const v1::Job& job : shards.jobs()) names.push_back(job.name());
  SayHowToMerge(session, shards);
  const std::string text = absl::StrJoin(names, "\n");
  return session.FinishRows(shards, shards.jobs(), text + "\n", text);
}

// The exit code when a shard did not succeed in time; nothing when all did.
absl::StatusOr<std::optional<int>> WaitForAll(Session& session, const SubmitFlags& flags,
                                              const v1::ListJobsResponse& shards) {
  absl::Duration timeout = absl::InfiniteDuration();
  if (!flags.timeout.empty()) {
    ASSIGN_OR_RETURN(timeout, ParseSpan("--timeout", flags.timeout));
  }
  const absl::Time deadline = absl::Now() + timeout;
  const OnInterrupt interrupt =
      flags.cancel_on_interrupt ? OnInterrupt::kCancelJob : OnInterrupt::kDetach;
  for (const v1::Job& job : shards.jobs()) {
    const absl::StatusOr<v1::Job> ended = WaitForEnd(
        session, job.name(), interrupt, std::max(deadline - absl::Now(), absl::Milliseconds(1)));
    if (absl::IsDeadlineExceeded(ended.status()) && !IsServerError(ended.status())) {
      session.Note(absl::StrCat(ShardText(job), ", ", job.name(), ", has not ended; all go on"));
      FinishSubmitted(session, shards);
      return kExitTimeout;
    }
    if (absl::IsCancelled(ended.status())) {
      session.Note("so do the other shards");
      SayHowToMerge(session, shards);
    }
    RETURN_IF_ERROR(ended.status());
    session.Note(
        absl::StrCat(ShardText(job), ", ", job.name(), ": ", v1::JobState_Name(ended->state())));
    if (ended->state() == v1::SUCCEEDED) continue;
    if (ended->state() == v1::CANCELLED && flags.cancel_on_interrupt) {
      ASSIGN_OR_RETURN(Client * client, session.client());
      CancelAll(session, *client, shards);
    } else {
      session.Note(
          absl::StrCat("the other shards go on; nothing was merged. Run it again with "
                       "`adamant job retry ",
                       UidOf(*ended), "`; `adamant attack --merge` takes the new one"));
    }
    return FinishWithJob(session, *ended, /*watched=*/false);
  }
  return std::nullopt;
}

absl::StatusOr<v1::Job> FinishedShard(Session& session, const std::string& text) {
  ASSIGN_OR_RETURN(const std::string name, ResolveJob(session, text));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(v1::Job job, client->GetJob(name));
  if (!job.spec().attack().has_shard()) {
    return UsageError(absl::StrCat("--merge: ", name, " is no shard; see --shards"));
  }
  if (job.state() == v1::SUCCEEDED) return job;
  return absl::FailedPreconditionError(absl::StrCat(ShardText(job), ", ", name, ", is ",
                                                    v1::JobState_Name(job.state()),
                                                    "; a merge needs the results of all shards"));
}

}  // namespace

absl::StatusOr<int> SubmitShards(Session& session, const SubmitFlags& flags, int count,
                                 v1::JobSpec& job) {
  if (!flags.request_id.empty()) {
    return UsageError("--request-id names one job; leave it out with --shards");
  }
  ASSIGN_OR_RETURN(const v1::SubmitOptions options,
                   PrepareSubmit(session, flags, *job.mutable_attack()));
  ASSIGN_OR_RETURN(const v1::ListJobsResponse shards, SubmitAll(session, count, options, job));
  if (flags.dry_run) return FinishDryRun(session, shards.jobs(0));
  if (!flags.watch && !flags.wait) return FinishSubmitted(session, shards);
  for (const v1::Job& shard : shards.jobs()) {
    session.Note(absl::StrCat("submitted ", shard.name(), ", ", ShardText(shard)));
  }
  ASSIGN_OR_RETURN(const std::optional<int> code, WaitForAll(session, flags, shards));
  if (code.has_value()) return *code;
  std::vector<std::string> names;
  for (const v1::Job& shard : shards.jobs()) names.push_back(shard.name());
  v1::JobSpec merge;
  ASSIGN_OR_RETURN(*merge.mutable_attack(), MergeSpec(session, names));
  ASSIGN_OR_RETURN(Client * client, session.client());
  ASSIGN_OR_RETURN(const v1::Job submitted, client->Submit(merge, options));
  return FollowSubmitted(session, flags, submitted);
}

absl::StatusOr<v1::AttackSpec> MergeSpec(Session& session, const std::vector<std::string>& jobs) {
  v1::AttackSpec spec;
  for (const std::string& text : jobs) {
    ASSIGN_OR_RETURN(const v1::Job job, FinishedShard(session, text));
    if (spec.shard_records().empty()) spec = job.spec().attack();
    *spec.add_shard_records() = job.result().attack().shard_records();
  }
  spec.clear_shard();
  return spec;
}

}  // namespace adamant
