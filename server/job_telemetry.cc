// SPDX-License-Identifier: Apache-2.0
#include "server/job_telemetry.h"

#include <algorithm>
#include <limits>

#include "absl/time/clock.h"
#include "server/jobs/job.h"
#include "server/telemetry/log.h"
#include "server/telemetry/metric_names.h"

namespace adamant {
namespace {

constexpr int kCountPage = 500;

double Seconds(const google::protobuf::Timestamp& from, const google::protobuf::Timestamp& to) {
  return std::max(0.0, absl::ToDoubleSeconds(FromProto(to) - FromProto(from)));
}

double UnixSeconds(const google::protobuf::Timestamp& time) {
  return absl::ToDoubleSeconds(FromProto(time) - absl::UnixEpoch());
}

// Who makes this transition, from the table of service.md 3.1.
const char* MoverOf(const v1::StateEvent& change) {
  const bool by_user = change.to() == v1::PAUSING || change.to() == v1::CANCELLING;
  switch (change.from()) {
    case v1::JOB_STATE_UNSPECIFIED:
      return "submit";
    case v1::QUEUED:
      return change.to() == v1::STARTING || change.to() == v1::FAILED ? "scheduler" : "user";
    case v1::PAUSED:
      return "user";
    case v1::STARTING:
    case v1::RUNNING:
    case v1::PAUSING:
      if (by_user) return "user";
      break;
    default:
      break;
  }
  return change.reason() == v1::SERVER_RESTART ? "recovery" : "supervisor";
}

void LogTransition(const v1::Job& job, const v1::JobEvent& event) {
  const v1::StateEvent& change = event.state();
  Log(LogLevel::kInfo, "job", change.message().empty() ? LabelOf(change.to()) : change.message(),
      {{"job", job.name()},
       {"kind", LabelOf(job.kind())},
       {"attempt", event.attempt()},
       {"fence", event.fence()},
       {"from", change.from() == v1::JOB_STATE_UNSPECIFIED ? "" : v1::JobState_Name(change.from())},
       {"to", v1::JobState_Name(change.to())},
       {"reason", change.reason() == v1::STATE_REASON_UNSPECIFIED
                      ? ""
                      : v1::StateReason_Name(change.reason())},
       {"mover", MoverOf(change)},
       {"seq", event.seq()}});
}

}  // namespace

JobTelemetry::JobTelemetry(Metrics& metrics) : metrics_(metrics), started_(absl::Now()) {}

void JobTelemetry::CountStored(JobStore& store) {
  {
    absl::MutexLock lock(&mutex_);
    counting_ = Position{.create_nanos = std::numeric_limits<int64_t>::max()};
  }
  JobListQuery query;
  query.tenant = "local";
  query.page_size = kCountPage;
  CountPage(store, std::move(query));
}

void JobTelemetry::CountPage(JobStore& store, JobListQuery query) {
  store.ListJobs(query, [this, &store, query](absl::StatusOr<JobPage> page) mutable {
    {
      absl::MutexLock lock(&mutex_);
      for (const v1::Job& job : page.ok() ? page->jobs : std::vector<v1::Job>()) {
        double& success = last_success_[job.kind()];
        if (job.state() == v1::SUCCEEDED) success = std::max(success, UnixSeconds(job.end_time()));
        if (!IsTerminal(job.state())) {
          live_.try_emplace(job.name(), Live{.kind = job.kind(),
                                             .state = job.state(),
                                             .queued = FromProto(job.queue_time())});
        } else if (FromProto(job.end_time()) < started_) {
          ++ended_[{job.kind(), job.state()}];
        }
      }
      if (!page.ok() || page->next_create_nanos == 0) {
        counting_.reset();
        return;
      }
      counting_ = Position{page->next_create_nanos, page->next_uid};
    }
    query.after_create_nanos = page->next_create_nanos;
    query.after_uid = page->next_uid;
    CountPage(store, std::move(query));
  });
}

bool JobTelemetry::Counted(const v1::Job& job) const {
  if (!counting_.has_value() || FromProto(job.end_time()) >= started_) return true;
  const int64_t created = absl::ToUnixNanos(FromProto(job.create_time()));
  if (created != counting_->create_nanos) return created > counting_->create_nanos;
  return job.name() <= JobName(counting_->uid);
}

void JobTelemetry::OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) {
  metrics_.EventsAppended(static_cast<int64_t>(new_events.size()));
  for (const v1::JobEvent& event : new_events) {
    if (!event.has_state()) continue;
    LogTransition(job, event);
    CountTransition(job, event);
  }
  Follow(job, new_events);
}

void JobTelemetry::OnJobGone(const v1::Job& job) {
  absl::MutexLock lock(&mutex_);
  live_.erase(job.name());
  if (!IsTerminal(job.state()) || !Counted(job)) return;
  int64_t& count = ended_[{job.kind(), job.state()}];
  count = std::max<int64_t>(0, count - 1);
}

void JobTelemetry::Follow(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) {
  absl::MutexLock lock(&mutex_);
  Live& live = live_[job.name()];
  live.kind = job.kind();
  live.state = job.state();
  live.queued = FromProto(job.queue_time());
  bool ended = false;
  for (const v1::JobEvent& event : new_events) {
    if (event.has_metric())
      live.counters.Take(job.spec(), event.attempt(), event.metric(), metrics_);
    ended = ended || (event.has_state() && event.terminal());
  }
  if (!HasWorker(job.state())) live.counters.Forget();
  if (!IsTerminal(job.state())) return;
  if (ended) {
    if (job.has_result()) live.counters.Finish(job.spec(), job.result(), metrics_);
    ++ended_[{job.kind(), job.state()}];
    if (job.state() == v1::SUCCEEDED) last_success_[job.kind()] = UnixSeconds(job.end_time());
  }
  live_.erase(job.name());
}

void JobTelemetry::CountTransition(const v1::Job& job, const v1::JobEvent& event) {
  const v1::StateEvent& change = event.state();
  if (change.to() == v1::STARTING)
    metrics_.JobWaited(job.kind(), Seconds(job.queue_time(), event.time()));
  if (HasWorker(change.from()) && !HasWorker(change.to()) && !job.attempts().empty()) {
    const v1::AttemptOutcome outcome = LastAttempt(job).outcome();
    metrics_.AttemptEnded(job.kind(), outcome);
    if (outcome == v1::ATTEMPT_NUMERICAL) metrics_.NonfiniteLoss(job.kind());
  }
  if (change.from() == v1::RECOVERING && change.to() != v1::CANCELLED)
    metrics_.JobRecovered(change.to() == v1::FAILED ? "failed" : "requeued");
  if (!event.terminal()) return;
  metrics_.JobFinished(job.kind(), job.state(), job.state_reason());
  if (job.has_start_time()) metrics_.JobRan(job.kind(), Seconds(job.start_time(), job.end_time()));
}

void JobTelemetry::OnWorkerStarted(const std::string& job, int attempt, int pid) {
  Log(LogLevel::kInfo, "worker", "started", {{"job", job}, {"attempt", attempt}, {"pid", pid}});
  absl::MutexLock lock(&mutex_);
  if (attempt == 0) ++service_workers_;
}

void JobTelemetry::OnWorkerExited(const WorkerExit& exit) {
  metrics_.WorkerExited(exit.cause);
  Log(LogLevel::kInfo, "worker", "exited",
      {{"job", exit.job},
       {"attempt", exit.attempt},
       {"cause", exit.cause},
       {"seconds", absl::ToDoubleSeconds(exit.lived)},
       {"peak_host_bytes", exit.peak_host_bytes},
       {"peak_device_bytes", exit.peak_device_bytes}});
  absl::MutexLock lock(&mutex_);
  if (exit.attempt == 0) service_workers_ = std::max<int64_t>(0, service_workers_ - 1);
}

void JobTelemetry::OnFirstStep(v1::JobKind kind, absl::Duration since_claim) {
  metrics_.JobStarted(kind, absl::ToDoubleSeconds(since_claim));
}

void JobTelemetry::OnLeaseRenewed(bool kept) { metrics_.LeaseRenewed(kept); }

void JobTelemetry::OnFenced() { metrics_.WriteFenced(); }

void JobTelemetry::OnProbe(const std::string& device, bool healthy) {
  Log(healthy ? LogLevel::kInfo : LogLevel::kError, "probe",
      healthy ? "the device computes what it should" : "the device failed its probe",
      {{"device", device}});
}

void JobTelemetry::Sample(const std::vector<v1::SlotStatus>& slots, MetricsSample& sample) const {
  absl::MutexLock lock(&mutex_);
  sample.jobs = ended_;
  sample.last_success = last_success_;
  for (const auto& [name, live] : live_) {
    ++sample.jobs[{live.kind, live.state}];
    if (HasWorker(live.state)) ++sample.workers[live.state == v1::STARTING ? "starting" : "busy"];
    if (live.state != v1::QUEUED) continue;
    const double queued = absl::ToDoubleSeconds(live.queued - absl::UnixEpoch());
    const auto [oldest, first] = sample.oldest_queued.try_emplace(live.kind, queued);
    if (!first) oldest->second = std::min(oldest->second, queued);
  }
  sample.workers["service"] = service_workers_;
  for (const v1::SlotStatus& status : slots) {
    SlotSample& slot = sample.slots.emplace_back();
    slot.device = status.device();
    slot.healthy = status.unhealthy().empty();
    const auto found = live_.find(status.job());
    if (found == live_.end()) continue;
    slot.kind = LabelOf(found->second.kind);
    slot.metrics = found->second.counters.latest();
  }
}

}  // namespace adamant
