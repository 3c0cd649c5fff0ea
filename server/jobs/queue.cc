// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/queue.h"

#include <algorithm>
#include <iterator>
#include <queue>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

// What a job that was just given a slot is taken to cost while the order is made, so that tenants
// with the same usage take turns.
constexpr absl::Duration kExpectedRun = absl::Minutes(1);
constexpr absl::Duration kLongestBackoff = absl::Seconds(72);  // 60 s and the jitter

bool Before(const JobQueue::Place& a, const JobQueue::Place& b) {
  return std::tie(a.job->priority, a.job->queue_time, *a.uid) <
         std::tie(b.job->priority, b.job->queue_time, *b.uid);
}

// The next job of one tenant within its own order.
struct Turn {
  double usage;
  double cost;
  std::vector<JobQueue::Place>::const_iterator next;
  std::vector<JobQueue::Place>::const_iterator end;
};

bool Later(const Turn& a, const Turn& b) {
  if (a.usage != b.usage) return a.usage > b.usage;
  return Before(*b.next, *a.next);
}

// Merges the tenants' own orders; `by_tenant` is sorted inside each tenant.
void TakeTurns(const absl::flat_hash_map<std::string, std::vector<JobQueue::Place>>& by_tenant,
               const FairShare& share, absl::Time now, std::vector<JobQueue::Place>& order) {
  std::vector<Turn> turns;
  for (const auto& [tenant, places] : by_tenant) {
    turns.push_back(
        {share.Usage(tenant, now), share.Cost(tenant, kExpectedRun), places.begin(), places.end()});
  }
  std::priority_queue heap(&Later, std::move(turns));
  while (!heap.empty()) {
    Turn turn = heap.top();
    heap.pop();
    order.push_back(*turn.next);
    turn.usage += turn.cost;
    if (++turn.next != turn.end) heap.push(turn);
  }
}

}  // namespace

LiveJob* JobQueue::Find(const std::string& uid) {
  const auto found = jobs_.find(uid);
  return found == jobs_.end() ? nullptr : &found->second;
}

LiveJob JobQueue::Make(const v1::Job& job) const {
  LiveJob live;
  live.tenant = job.tenant();
  live.kind = job.kind();
  live.priority = job.options().priority();
  live.references = ReferencesOf(job.spec());
  const v1::ModelSource& model = ModelSourceOf(job.spec());
  if (const auto uid = JobUid(model.checkpoint().job()); uid.ok()) live.training_job = *uid;
  SetNeeds(live, job);
  return live;
}

void JobQueue::SetNeeds(LiveJob& live, const v1::Job& job) const {
  const v1::Resources& asked = job.options().resources();
  live.host_bytes = asked.host_memory_bytes();
  live.device_bytes = asked.gpu_memory_bytes();
  if (estimate_ == nullptr || (live.host_bytes > 0 && live.device_bytes > 0)) return;
  const auto model = models_.find({job.tenant(), ModelSourceOf(job.spec()).model()});
  const auto data =
      std::find_if(live.references.begin(), live.references.end(),
                   [&](const auto& name) { return datasets_.contains({job.tenant(), name}); });
  const v1::Resources guess =
      estimate_(job.spec(), model == models_.end() ? nullptr : &model->second,
                data == live.references.end() ? nullptr : &datasets_.at({job.tenant(), *data}));
  if (live.host_bytes == 0) live.host_bytes = guess.host_memory_bytes();
  if (live.device_bytes == 0) live.device_bytes = guess.gpu_memory_bytes();
}

// Stored times are wall times: what is left of them counts, within what they may be.
void JobQueue::Follow(LiveJob& live, const v1::Job& job) const {
  const bool arrives = job.state() == v1::QUEUED && live.state != v1::QUEUED;
  live.state = job.state();
  live.queue_time = FromProto(job.queue_time());
  if (!job.attempts().empty()) {
    const v1::Attempt& newest = LastAttempt(job);
    live.fence = newest.fence();
    live.faulty_device = newest.outcome() == v1::ATTEMPT_DEVICE_FAULT ? newest.device() : "";
  }
  if (!arrives) return;
  const absl::Time wall = clock_.Wall();
  const absl::Time now = clock_.Steady();
  live.skipped_since = absl::InfiniteFuture();
  if (job.options().has_queue_timeout()) {
    const absl::Duration timeout = DurationOf(job.options().queue_timeout());
    const absl::Duration waited = std::clamp(wall - live.queue_time, absl::ZeroDuration(), timeout);
    live.queue_deadline = now + timeout - waited;
  }
  live.not_before = absl::InfinitePast();
  if (job.has_retry_time())
    live.not_before = now + std::min(FromProto(job.retry_time()) - wall, kLongestBackoff);
}

LiveJob* JobQueue::Update(const std::string& uid, const v1::Job& job) {
  auto found = jobs_.find(uid);
  if (found != jobs_.end()) Count(found->second, -1);
  if (IsTerminal(job.state())) {
    if (found != jobs_.end()) jobs_.erase(found);
    return nullptr;
  }
  if (found == jobs_.end()) {
    found = jobs_.emplace(uid, Make(job)).first;
    found->second.state = v1::JOB_STATE_UNSPECIFIED;
  }
  Follow(found->second, job);
  Count(found->second, 1);
  return &found->second;
}

void JobQueue::Count(const LiveJob& job, int by) {
  if (HasWorker(job.state)) running_ += by;
  if (job.state != v1::QUEUED) return;
  queued_ += by;
  if ((queued_of_[job.tenant] += by) == 0) queued_of_.erase(job.tenant);
}

int JobQueue::queued(const std::string& tenant) const {
  const auto found = queued_of_.find(tenant);
  return found == queued_of_.end() ? 0 : found->second;
}

void JobQueue::SetModel(const std::string& tenant, const v1::Model& model) {
  SetResource(tenant, model.name(), model.state());
  models_[{tenant, model.name()}] = model;
}

void JobQueue::SetDataset(const std::string& tenant, const v1::Dataset& dataset) {
  SetResource(tenant, dataset.name(), dataset.state());
  datasets_[{tenant, dataset.name()}] = dataset;
}

std::vector<JobQueue::Place> JobQueue::Order(const FairShare& share, absl::Time now) {
  std::vector<Place> plain;
  plain.reserve(static_cast<size_t>(queued_));
  for (auto& [uid, job] : jobs_) {
    if (job.state == v1::QUEUED) plain.push_back({&uid, &job, false});
  }
  std::sort(plain.begin(), plain.end(), &Before);
  const auto across = std::find_if(plain.begin(), plain.end(),
                                   [](const Place& place) { return place.job->priority >= 0; });
  std::vector<Place> order(plain.begin(), across);
  order.reserve(plain.size());
  absl::flat_hash_map<std::string, std::vector<Place>> by_tenant;
  for (auto place = across; place != plain.end(); ++place) {
    by_tenant[place->job->tenant].push_back(*place);
  }
  TakeTurns(by_tenant, share, now, order);
  absl::flat_hash_map<const LiveJob*, size_t> plain_rank;
  for (size_t i = 0; i < plain.size(); ++i) plain_rank[plain[i].job] = i;
  for (size_t i = 0; i < order.size(); ++i)
    order[i].behind_fair_share = plain_rank[order[i].job] < i;
  return order;
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

}  // namespace adamant
