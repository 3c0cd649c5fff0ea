// SPDX-License-Identifier: Apache-2.0
#include "server/job_telemetry.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/time/clock.h"
#include "server/jobs/job.h"
#include "server/telemetry/log.h"

namespace adamant {
namespace {

constexpr int kCountPage = 500;

std::string DatasetFamily(const v1::TrainSpec& spec) {
  return spec.train().has_builtin() ? spec.train().builtin().name() : "other";
}

const char* ExitCause(v1::AttemptOutcome outcome) {
  switch (outcome) {
    case v1::ATTEMPT_OUT_OF_MEMORY:
      return "oom";
    case v1::ATTEMPT_DEVICE_FAULT:
      return "device";
    case v1::ATTEMPT_WORKER_LOST:
      return "lost";
    case v1::ATTEMPT_USER_ERROR:
    case v1::ATTEMPT_DATA_ERROR:
    case v1::ATTEMPT_NUMERICAL:
    case v1::ATTEMPT_INTERNAL:
      return "error";
    case v1::ATTEMPT_TIMEOUT:
    case v1::ATTEMPT_FENCED:
      return "signal";
    default:
      return "ok";
  }
}

double Seconds(const google::protobuf::Timestamp& from, const google::protobuf::Timestamp& to) {
  return std::max(0.0, absl::ToDoubleSeconds(FromProto(to) - FromProto(from)));
}

void LogWorker(const v1::Job& job, const v1::StateEvent& change) {
  if (job.attempts().empty()) return;
  const v1::Attempt& attempt = LastAttempt(job);
  if (change.to() == v1::STARTING) {
    Log(LogLevel::kInfo, "worker", "started",
        {{"job", job.name()},
         {"attempt", attempt.number()},
         {"fence", attempt.fence()},
         {"worker", attempt.worker()},
         {"device", attempt.device()}});
    return;
  }
  Log(LogLevel::kInfo, "worker", "ended",
      {{"job", job.name()},
       {"attempt", attempt.number()},
       {"cause", ExitCause(attempt.outcome())},
       {"outcome", v1::AttemptOutcome_Name(attempt.outcome())},
       {"seconds", Seconds(attempt.start_time(), attempt.end_time())},
       {"peak_host_bytes", attempt.peak_host_bytes()}});
}

}  // namespace

JobTelemetry::JobTelemetry(Metrics& metrics) : metrics_(metrics), started_(absl::Now()) {}

void JobTelemetry::CountStored(JobStore& store) {
  JobListQuery query;
  query.tenant = "local";
  query.page_size = kCountPage;
  CountPage(store, std::move(query));
}

void JobTelemetry::CountPage(JobStore& store, JobListQuery query) {
  store.ListJobs(query, [this, &store, query](absl::StatusOr<JobPage> page) mutable {
    if (!page.ok()) return;
    {
      absl::MutexLock lock(&mutex_);
      for (const v1::Job& job : page->jobs) {
        if (!IsTerminal(job.state())) {
          live_.try_emplace(job.name(), Live{.kind = job.kind(), .state = job.state()});
        } else if (FromProto(job.end_time()) < started_) {
          ++ended_[{job.kind(), job.state()}];
        }
      }
    }
    if (page->next_create_nanos == 0) return;
    query.after_create_nanos = page->next_create_nanos;
    query.after_uid = page->next_uid;
    CountPage(store, std::move(query));
  });
}

void JobTelemetry::OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) {
  metrics_.EventsAppended(static_cast<int64_t>(new_events.size()));
  int64_t counted_steps = 0;
  {
    absl::MutexLock lock(&mutex_);
    Live& live = live_[job.name()];
    live.kind = job.kind();
    live.state = job.state();
    for (const v1::JobEvent& event : new_events) {
      if (event.has_metric()) OnMetrics(job, event.metric(), live);
    }
    if (!HasWorker(job.state())) live.metrics.clear();
    counted_steps = live.steps;
    if (IsTerminal(job.state())) {
      live_.erase(job.name());
      ++ended_[{job.kind(), job.state()}];
    }
  }
  for (const v1::JobEvent& event : new_events) {
    if (!event.has_state()) continue;
    OnTransition(job, event);
    if (event.terminal()) OnEnd(job, counted_steps);
  }
}

void JobTelemetry::OnMetrics(const v1::Job& job, const v1::MetricEvent& event, Live& live) {
  int64_t last_step = live.steps;
  for (const v1::MetricPoint& point : event.points()) {
    live.metrics[point.name()] = point.value();
    last_step = std::max(last_step, point.step());
  }
  if (job.kind() != v1::TRAIN) return;
  metrics_.TrainSteps(DatasetFamily(job.spec().train()), last_step - live.steps);
  live.steps = last_step;
}

void JobTelemetry::OnTransition(const v1::Job& job, const v1::JobEvent& event) {
  const v1::StateEvent& change = event.state();
  Log(LogLevel::kInfo, "job",
      change.message().empty() ? v1::JobState_Name(change.to()) : change.message(),
      {{"job", job.name()},
       {"kind", absl::AsciiStrToLower(v1::JobKind_Name(job.kind()))},
       {"attempt", event.attempt()},
       {"fence", event.fence()},
       {"from", v1::JobState_Name(change.from())},
       {"to", v1::JobState_Name(change.to())},
       {"reason", change.reason() == v1::STATE_REASON_UNSPECIFIED
                      ? ""
                      : v1::StateReason_Name(change.reason())},
       {"seq", event.seq()}});
  if (change.to() == v1::STARTING) {
    metrics_.JobWaited(job.kind(), Seconds(job.queue_time(), event.time()));
    LogWorker(job, change);
  } else if (HasWorker(change.from()) && !HasWorker(change.to()) && !job.attempts().empty()) {
    metrics_.WorkerExited(ExitCause(LastAttempt(job).outcome()));
    LogWorker(job, change);
  }
}

void JobTelemetry::OnEnd(const v1::Job& job, int64_t counted_steps) {
  metrics_.JobFinished(job.kind(), job.state(), job.state_reason());
  if (job.has_start_time()) metrics_.JobRan(job.kind(), Seconds(job.start_time(), job.end_time()));
  if (job.result().has_train())
    metrics_.TrainSteps(DatasetFamily(job.spec().train()),
                        job.result().train().steps() - counted_steps);
  for (const v1::AttackBlock& block : job.result().attack().attacks())
    metrics_.AttackSamples(block.attack().name(), block.attacked(), block.broken());
  const v1::ExplainReport& explained = job.result().explain();
  const auto& explainers = job.spec().explain().explainers();
  for (const v1::PluginSpec& explainer : explainers)
    metrics_.ExplainMaps(explainer.name(), explained.num_maps() / explainers.size());
}

void JobTelemetry::Sample(const std::vector<v1::SlotStatus>& slots, MetricsSample& sample) const {
  absl::MutexLock lock(&mutex_);
  sample.jobs = ended_;
  for (const auto& [name, live] : live_) ++sample.jobs[{live.kind, live.state}];
  for (const v1::SlotStatus& slot : slots) {
    const auto found = live_.find(slot.job());
    sample.slots.push_back(found == live_.end() ? std::map<std::string, double>()
                                                : found->second.metrics);
    if (!slot.job().empty()) ++sample.busy_workers;
  }
}

}  // namespace adamant
