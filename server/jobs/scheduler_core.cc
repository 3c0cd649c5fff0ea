// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/scheduler_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/error_reason.h"
#include "common/failpoint.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr absl::Duration kRenewRetry = absl::Seconds(1);
constexpr absl::Duration kSnapshotEvery = absl::Seconds(1);
constexpr int kCheapQueue = 200;  // ordered anew whenever it changed

}  // namespace

SchedulerCore::SchedulerCore(std::vector<Slot> slots, const SchedulerOptions& options,
                             const Clock& clock, JobRunner& runner)
    : options_(options),
      clock_(clock),
      runner_(runner),
      queue_(clock, options.estimate),
      share_(options.tenant_weights),
      board_(std::move(slots), options) {}

bool SchedulerCore::OnJob(const std::string& uid, const v1::Job& job) {
  const LiveJob* before = queue_.Find(uid);
  const bool known = before != nullptr;
  if (known && before->state == job.state() && HasWorker(job.state())) return false;
  ++version_;
  LiveJob* live = queue_.Update(uid, job);
  if (live == nullptr) return true;
  if (!known) unchecked_.push_back(uid);
  const auto running = running_.find(uid);
  if (running != running_.end()) {
    FollowState(uid, running->second, *live);
    return true;
  }
  if (live->state != v1::QUEUED) live->held = false;
  const absl::Time now = clock_.Steady();
  if (live->state == v1::QUEUED) {
    if (live->queue_deadline < absl::InfiniteFuture()) timers_.emplace(live->queue_deadline, uid);
    if (live->not_before > now) timers_.emplace(live->not_before, uid);
  } else if (HasWorker(live->state)) {
    timers_.emplace(now + options_.lease_ttl, uid);
  }
  return true;
}

// The store says what the attempt should do.
void SchedulerCore::FollowState(const std::string& uid, Running& running, const LiveJob& job) {
  if (running.fence == 0 && HasWorker(job.state)) {
    const absl::Time now = clock_.Steady();
    running.fence = job.fence;
    running.lease_end = now + options_.lease_ttl;
    running.renew_at = now + options_.lease_ttl / 3;
  }
  if (job.state == v1::CANCELLING)
    runner_.StopAttempt(uid, StopReason::kCancel, options_.cancel_grace);
  if (job.state == v1::PAUSING) runner_.StopAttempt(uid, StopReason::kPause, options_.pause_grace);
}

void SchedulerCore::OnModel(const std::string& tenant, const v1::Model& model) {
  queue_.SetModel(tenant, model);
  inputs_changed_ = true;
}

void SchedulerCore::OnDataset(const std::string& tenant, const v1::Dataset& dataset) {
  queue_.SetDataset(tenant, dataset);
  inputs_changed_ = true;
}

void SchedulerCore::OnAttemptOver(const std::string& uid, const AttemptOver& over) {
  const auto found = running_.find(uid);
  if (found == running_.end()) return;
  const absl::Time now = clock_.Steady();
  ChargeSlots(now);
  const absl::Time lease_end = std::min(found->second.lease_end, now + options_.lease_ttl);
  board_.Free(found->second.slot, over, now);
  if (over.outcome == v1::ATTEMPT_SUCCEEDED)
    forecast_.OnRun(found->second.kind, now - found->second.since);
  running_.erase(found);
  ++version_;
  LiveJob* job = queue_.Find(uid);
  if (job == nullptr) return;
  job->held = false;
  if (HasWorker(job->state)) timers_.emplace(std::max(lease_end, over.retry_at), uid);
  if (job->state != v1::QUEUED) return;
  job->not_before = std::max(job->not_before, over.retry_at);
  timers_.emplace(job->not_before, uid);
  timers_.emplace(job->queue_deadline, uid);
}

void SchedulerCore::OnLease(const std::string& uid, int64_t fence,
                            const absl::StatusOr<v1::JobState>& state) {
  const auto found = running_.find(uid);
  if (found == running_.end() || found->second.fence != fence) return;
  Running& running = found->second;
  running.asking = false;
  if (absl::IsAborted(state.status())) {
    if (!std::exchange(running.fenced, true))
      runner_.StopAttempt(uid, StopReason::kFence, absl::ZeroDuration());
    return;
  }
  if (!state.ok()) {
    running.renew_at = clock_.Steady() + kRenewRetry;
    return;
  }
  // Counted from the question: the store may have answered late.
  running.lease_end = running.asked_at + options_.lease_ttl;
  running.renew_at = running.asked_at + options_.lease_ttl / 3;
  if (*state == v1::CANCELLING)
    runner_.StopAttempt(uid, StopReason::kCancel, options_.cancel_grace);
  if (*state == v1::PAUSING) runner_.StopAttempt(uid, StopReason::kPause, options_.pause_grace);
}

void SchedulerCore::OnDecided(const std::string& uid) {
  LiveJob* job = queue_.Find(uid);
  if (job == nullptr || running_.count(uid) > 0) return;
  job->held = false;
  timers_.emplace(clock_.Steady() + kRenewRetry, uid);
}

void SchedulerCore::OnProbe(int slot, const absl::Status& verdict) {
  board_.OnProbe(slot, verdict, clock_.Steady());
}

void SchedulerCore::StopAll(StopReason reason, absl::Duration grace) {
  for (const auto& [uid, running] : running_) runner_.StopAttempt(uid, reason, grace);
}

absl::Time SchedulerCore::Step() {
  const absl::Time now = clock_.Steady();
  absl::Time wake = TendLeases(now);
  TendTimers(now);
  FailHopeless();
  for (const int slot : board_.TakeProbes(now)) runner_.Probe(slot);
  if (open_) Place(now);
  if (!timers_.empty()) wake = std::min(wake, timers_.begin()->first);
  return std::min(wake, board_.wake_at(now));
}

absl::Time SchedulerCore::TendLeases(absl::Time now) {
  absl::Time wake = absl::InfiniteFuture();
  for (auto& [uid, running] : running_) {
    if (running.fence == 0 || running.fenced) continue;
    const absl::Time give_up = running.lease_end - options_.lease_ttl / 6;
    if (now >= give_up) {
      ADAMANT_FAILPOINT("lease.expire");
      running.fenced = true;
      runner_.StopAttempt(uid, StopReason::kFence, absl::ZeroDuration());
      continue;
    }
    if (!running.asking && now >= running.renew_at) {
      running.asking = true;
      running.asked_at = now;
      if (FailpointErrno("lease.renew") != kSkip) runner_.RenewLease(uid, running.fence);
    }
    wake = std::min(wake, running.asking ? give_up : std::min(give_up, running.renew_at));
  }
  return wake;
}

void SchedulerCore::TendTimers(absl::Time now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const std::string uid = timers_.begin()->second;
    timers_.erase(timers_.begin());
    LiveJob* job = queue_.Find(uid);
    if (job == nullptr || running_.count(uid) > 0) continue;
    if (HasWorker(job->state)) {
      // Nobody here runs it, and whoever did has no lease any more.
      runner_.TakeOver(uid, job->fence);
      timers_.emplace(now + options_.lease_ttl, uid);
    } else if (job->state == v1::QUEUED && !job->held && now >= job->queue_deadline) {
      Fail(uid, *job, v1::QUEUE_TIMEOUT, "no slot became free within queue_timeout");
    } else {
      FailIfHopeless(uid, *job);
    }
  }
}

void SchedulerCore::FailHopeless() {
  for (const std::string& uid : std::exchange(unchecked_, {})) {
    if (LiveJob* job = queue_.Find(uid)) FailIfHopeless(uid, *job);
  }
  if (!std::exchange(inputs_changed_, false)) return;
  for (auto& [uid, job] : queue_.jobs()) FailIfHopeless(uid, job);
}

void SchedulerCore::FailIfHopeless(const std::string& uid, LiveJob& job) {
  if (job.state != v1::QUEUED || job.held) return;
  const Readiness inputs = queue_.CheckInputs(job);
  if (inputs.kind == Readiness::kImpossible) Fail(uid, job, inputs.reason, inputs.message);
}

void SchedulerCore::Fail(const std::string& uid, LiveJob& job, v1::StateReason reason,
                         const std::string& message) {
  job.held = true;
  runner_.FailQueued(uid, reason, message);
}

void SchedulerCore::Place(absl::Time now) {
  if (queue_.queued() == 0 || (!board_.AnyFree(now) && held_.empty())) return;
  ChargeSlots(now);
  std::vector<JobQueue::Place> order = queue_.Order(share_, now);
  // Who was passed over for too long comes first.
  std::stable_partition(order.begin(), order.end(),
                        [&](const JobQueue::Place& place) { return Starved(*place.job, now); });
  for (const JobQueue::Place& place : order) {
    LiveJob& job = *place.job;
    if (!MayStart(job, now)) continue;
    const SlotBoard::Fit fit = board_.Find(job, now);
    if (fit.slot >= 0) {
      Start(*place.uid, job, fit.slot, now);
    } else if (!fit.too_large) {
      return RecallSlots();                         // no slot is left
    } else if (RecallSlots(); Starved(job, now)) {  // they hold memory too
      return;                                       // the room that is left is kept for it
    } else {
      job.skipped_since = std::min(job.skipped_since, now);
    }
  }
}

bool SchedulerCore::MayStart(const LiveJob& job, absl::Time now) const {
  return !job.held && job.not_before <= now && now < job.queue_deadline &&
         queue_.CheckInputs(job).kind == Readiness::kReady;
}

void SchedulerCore::RecallSlots() const {
  for (const auto& [slot, wanted] : held_) wanted(slot);
}

std::optional<int> SchedulerCore::TryHoldSlot(const v1::Resources& needs,
                                              std::function<void(int)> wanted) {
  LiveJob job;
  job.host_bytes = needs.host_memory_bytes();
  job.device_bytes = needs.gpu_memory_bytes();
  const int slot = open_ ? board_.Hold(job, clock_.Steady()) : -1;
  if (slot < 0) return std::nullopt;
  held_[slot] = std::move(wanted);
  return slot;
}

void SchedulerCore::ReleaseSlot(int slot, const AttemptOver& over) {
  if (held_.erase(slot) > 0) board_.Free(slot, over, clock_.Steady());
}

void SchedulerCore::SetAdmission(bool open) {
  open_ = open;
  if (!open) RecallSlots();
}

void SchedulerCore::Start(const std::string& uid, LiveJob& job, int slot, absl::Time now) {
  job.held = true;
  job.skipped_since = absl::InfiniteFuture();
  board_.Take(slot, uid, job);
  Running& running = running_[uid];
  running.slot = slot;
  running.tenant = job.tenant;
  running.kind = job.kind;
  running.since = now;
  running.charged_until = now;
  ++version_;
  runner_.StartAttempt(uid, slot);
}

void SchedulerCore::ChargeSlots(absl::Time now) {
  for (auto& [uid, running] : running_) {
    share_.Charge(running.tenant, now - running.charged_until, now);
    running.charged_until = now;
  }
}

absl::Status SchedulerCore::Admit(const std::string& tenant) const {
  if (!open_)
    return WithReason(
        absl::UnavailableError("the server takes no new work now; try again after its start"),
        "DRAINING");
  const int queued = queue_.queued();
  const int mine = queue_.queued(tenant);
  if (queued < options_.max_queued_jobs && mine < options_.max_queued_jobs_per_tenant)
    return absl::OkStatus();
  const std::string what = queued >= options_.max_queued_jobs
                               ? absl::StrCat(queued, " jobs are queued")
                               : absl::StrCat("the tenant has ", mine, " queued jobs");
  return WithReason(absl::ResourceExhaustedError(absl::StrCat(what, "; try again later")),
                    "QUEUE_FULL", {{"queued", absl::StrCat(queued)}});
}

SchedulerCore::Snapshot::Rank SchedulerCore::RankOf(const std::string& uid) {
  const absl::Time now = clock_.Steady();
  const bool due = now - snapshot_.at >= kSnapshotEvery || queue_.queued() <= kCheapQueue;
  if (snapshot_.version != version_ && due) {
    ChargeSlots(now);
    RankQueue(now);
  }
  const auto found = snapshot_.ranks.find(uid);
  // One that came after the snapshot counts as the last until the next.
  return found == snapshot_.ranks.end() ? Snapshot::Rank{queue_.queued(), false} : found->second;
}

// A job that may not start yet leaves its turn to those behind it.
void SchedulerCore::RankQueue(absl::Time now) {
  snapshot_ = {now, version_, {}};
  std::vector<v1::JobKind> kinds;
  std::vector<Snapshot::Rank*> waiting;
  const std::vector<JobQueue::Place> order = queue_.Order(share_, now);
  snapshot_.ranks.reserve(order.size());
  int position = 0;
  for (const JobQueue::Place& place : order) {
    Snapshot::Rank& rank = snapshot_.ranks[*place.uid];
    rank = {++position, place.behind_fair_share};
    if (!MayStart(*place.job, now)) continue;
    kinds.push_back(place.job->kind);
    waiting.push_back(&rank);
  }
  std::vector<StartForecast::Busy> busy;
  for (const auto& [uid, running] : running_) busy.push_back({running.kind, running.since});
  const int free = static_cast<int>(board_.size() - running_.size());
  const std::vector<absl::Time> starts = forecast_.Starts(busy, free, kinds, now);
  for (size_t i = 0; i < starts.size(); ++i) waiting[i]->start = starts[i];
}

v1::QueueInfo SchedulerCore::Describe(const std::string& uid) {
  v1::QueueInfo info;
  const LiveJob* job = queue_.Find(uid);
  if (job == nullptr || job->state != v1::QUEUED) {  // its commit was seen before we were told
    info.set_position(queue_.queued() + 1);
    info.set_jobs_ahead(queue_.queued());
    info.set_blocking_reason(open_ ? v1::BEHIND_OTHERS : v1::DRAINING);
    info.set_blocking_message("queued just now");
    return info;
  }
  const Snapshot::Rank rank = RankOf(uid);
  const int ahead = rank.position - 1;
  info.set_position(rank.position);
  info.set_jobs_ahead(ahead);
  const auto blocked = [&](v1::BlockingReason reason, std::string message) {
    info.set_blocking_reason(reason);
    info.set_blocking_message(std::move(message));
    return info;
  };
  const absl::Time now = clock_.Steady();
  const Readiness inputs = queue_.CheckInputs(*job);
  if (!open_) return blocked(v1::DRAINING, "the server starts no new work now");
  if (inputs.kind != Readiness::kReady) return blocked(v1::DEPENDENCY, inputs.message);
  if (job->not_before > now)
    return blocked(v1::BACKOFF,
                   absl::StrCat("next attempt in ", absl::FormatDuration(absl::Ceil(
                                                        job->not_before - now, absl::Seconds(1)))));
  if (board_.AllUnhealthy())
    return blocked(v1::DEVICE_UNHEALTHY, "no device is fit for work; see the slots of the server");
  if (job->skipped_since < absl::InfiniteFuture())
    return blocked(v1::WAITING_FOR_MEMORY,
                   "it needs more memory than is left beside what is running");
  if (rank.start > now && rank.start < absl::InfiniteFuture())
    *info.mutable_estimated_start() = ToProto(clock_.Wall() + (rank.start - now));
  if (rank.behind_fair_share)
    return blocked(v1::FAIR_SHARE, absl::StrCat(ahead, " ahead; other tenants had less lately"));
  if (ahead > 0)
    return blocked(v1::BEHIND_OTHERS,
                   absl::StrCat(ahead, ahead == 1 ? " job is" : " jobs are", " ahead"));
  return blocked(v1::WAITING_FOR_SLOT, "next; all slots are busy");
}

SchedulerStatus SchedulerCore::Status() const {
  SchedulerStatus status;
  status.slots = board_.Status();
  status.queued_jobs = queue_.queued();
  status.running_jobs = queue_.running();
  status.draining = !open_;
  return status;
}

}  // namespace adamant
