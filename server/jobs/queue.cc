// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/queue.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/jobs/job.h"

namespace adamant {

LiveJob MakeLiveJob(const v1::Job& job) {
  LiveJob live;
  live.tenant = job.tenant();
  live.state = job.state();
  live.priority = job.options().priority();
  live.queue_time = FromProto(job.queue_time());
  if (job.options().has_queue_timeout())
    live.queue_deadline = live.queue_time + absl::Seconds(job.options().queue_timeout().seconds());
  live.references = ReferencesOf(job.spec());
  const v1::ModelSource& model = ModelSourceOf(job.spec());
  if (const auto uid = JobUid(model.checkpoint().job()); uid.ok()) live.training_job = *uid;
  return live;
}

void JobQueue::Update(const std::string& uid, const v1::Job& job) {
  if (IsTerminal(job.state())) {
    jobs_.erase(uid);
    return;
  }
  const auto found = jobs_.find(uid);
  if (found == jobs_.end()) {
    jobs_.emplace(uid, MakeLiveJob(job));
    return;
  }
  found->second.state = job.state();
  found->second.queue_time = FromProto(job.queue_time());
}

bool JobQueue::Before(const std::string& uid, const LiveJob& job, const std::string& other_uid,
                      const LiveJob& other) {
  return std::tie(job.priority, job.queue_time, uid) <
         std::tie(other.priority, other.queue_time, other_uid);
}

std::vector<std::string> JobQueue::Waiting() const {
  std::vector<std::string> waiting;
  for (const auto& [uid, job] : jobs_) {
    if (job.state == v1::QUEUED && !job.held) waiting.push_back(uid);
  }
  std::sort(waiting.begin(), waiting.end(), [&](const std::string& a, const std::string& b) {
    return Before(a, jobs_.at(a), b, jobs_.at(b));
  });
  return waiting;
}

Readiness JobQueue::CheckInputs(const LiveJob& job) const {
  Readiness result;
  for (const std::string& name : job.references) {
    const auto found = resources_.find(Resource(job.tenant, name));
    if (found == resources_.end())
      return {Readiness::kImpossible, v1::DEPENDENCY_MISSING, absl::StrCat(name, " is gone")};
    if (found->second == v1::REJECTED) {
      const bool is_model = absl::StartsWith(name, "models/");
      return {Readiness::kImpossible, is_model ? v1::MODEL_INCOMPATIBLE : v1::DATA_ERROR,
              absl::StrCat(name, " was rejected; its state_message says why")};
    }
    if (found->second != v1::READY)
      result = {Readiness::kWaiting, {}, absl::StrCat(name, " is being validated")};
  }
  if (!job.training_job.empty() && jobs_.count(job.training_job) > 0)
    result = {Readiness::kWaiting, {}, absl::StrCat(JobName(job.training_job), " has not ended")};
  return result;
}

v1::QueueInfo JobQueue::Describe(const std::string& uid, bool draining, absl::Time now) const {
  v1::QueueInfo info;
  const auto found = jobs_.find(uid);
  if (found == jobs_.end()) return info;
  const LiveJob& job = found->second;
  const auto ahead = std::count_if(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
    return entry.second.state == v1::QUEUED && Before(entry.first, entry.second, uid, job);
  });
  info.set_position(static_cast<int>(ahead) + 1);
  info.set_jobs_ahead(static_cast<int>(ahead));
  const Readiness inputs = CheckInputs(job);
  if (draining) {
    info.set_blocking_reason(v1::DRAINING);
    info.set_blocking_message("the server is going down; the job starts after its next start");
  } else if (inputs.kind != Readiness::kReady) {
    info.set_blocking_reason(v1::DEPENDENCY);
    info.set_blocking_message(inputs.message);
  } else if (job.not_before > now) {
    info.set_blocking_reason(v1::BACKOFF);
    info.set_blocking_message(
        absl::StrCat("next attempt at ", absl::FormatTime(job.not_before, absl::UTCTimeZone())));
  } else if (ahead > 0) {
    info.set_blocking_reason(v1::BEHIND_OTHERS);
    info.set_blocking_message(absl::StrCat(ahead, ahead == 1 ? " job is" : " jobs are", " ahead"));
  } else {
    info.set_blocking_reason(v1::WAITING_FOR_SLOT);
    info.set_blocking_message("next; all slots are busy");
  }
  return info;
}

int JobQueue::CountState(bool (*matches)(v1::JobState)) const {
  return static_cast<int>(std::count_if(
      jobs_.begin(), jobs_.end(), [&](const auto& entry) { return matches(entry.second.state); }));
}

}  // namespace adamant
