// SPDX-License-Identifier: Apache-2.0
// What an attempt does with each frame of its worker. Nothing in them is trusted.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/failpoint.h"
#include "server/jobs/attempt.h"
#include "server/jobs/inputs.h"
#include "server/jobs/job.h"
#include "server/jobs/report_check.h"
#include "server/store/await.h"

namespace adamant {
namespace {

constexpr size_t kMaxMetricNames = 256;
constexpr int kMaxLatestMetrics = 32;
constexpr int kMaxPoints = 500;
constexpr size_t kMaxMetricName = 64;
constexpr size_t kMaxLogText = 16 << 10;
constexpr size_t kMaxText = 4 << 10;
constexpr int kMaxArtifacts = 1000;
constexpr int kKeptCheckpoints = 2;

double FiniteOrZero(double value) { return std::isfinite(value) ? value : 0; }

void SetLatest(v1::Job& job, const v1::MetricPoint& point) {
  for (v1::MetricValue& latest : *job.mutable_latest_metrics()) {
    if (latest.name() == point.name()) return latest.set_value(point.value());
  }
  if (job.latest_metrics_size() >= kMaxLatestMetrics) return;
  v1::MetricValue& latest = *job.add_latest_metrics();
  latest.set_name(point.name());
  latest.set_value(point.value());
}

// Older checkpoints are no longer needed for a resume.
void ForgetOldCheckpoints(v1::Job& job) {
  int kept = 0;
  for (int i = job.artifacts_size() - 1; i >= 0; --i) {
    if (job.artifacts(i).role() != kCheckpointRole || ++kept <= kKeptCheckpoints) continue;
    job.mutable_artifacts()->DeleteSubrange(i, 1);
  }
}

}  // namespace

void Attempt::OnHeartbeat(const worker::v1::Heartbeat& heartbeat) {
  watchdog_->Heartbeat(heartbeat.step(), services_.clock.Steady());
  end_.peak_host_bytes =
      std::max({end_.peak_host_bytes, heartbeat.rss_bytes(), heartbeat.peak_rss_bytes()});
  end_.peak_device_bytes = std::max(end_.peak_device_bytes, heartbeat.device_bytes());
  const int64_t limit = job_.options().resources().host_memory_bytes();
  if (limit > 0 && heartbeat.rss_bytes() > limit)
    Kill(v1::ATTEMPT_OUT_OF_MEMORY,
         absl::StrCat("the worker used more than resources.host_memory_bytes = ", limit));
}

void Attempt::OnProgress(v1::Progress progress) {
  const absl::Time now = services_.clock.Wall();
  const double reached = progress_.has_value() ? progress_->fraction_ratio() : 0;
  progress.set_fraction_ratio(
      std::max(reached, std::clamp(FiniteOrZero(progress.fraction_ratio()), 0.0, 1.0)));
  progress.set_samples_per_second(FiniteOrZero(progress.samples_per_second()));
  progress.set_attack_share_ratio(
      std::clamp(FiniteOrZero(progress.attack_share_ratio()), 0.0, 1.0));
  if (progress.phase().size() > kMaxText) progress.mutable_phase()->resize(kMaxText);
  *progress.mutable_update_time() = ToProto(now);
  if (!progress_.has_value()) {
    const absl::Status stored = Change([&](JobDraft& draft) {
      *draft.job.mutable_progress() = progress;
      if (draft.job.state() != v1::STARTING) return absl::OkStatus();
      return MoveJob(draft, v1::RUNNING, v1::STATE_REASON_UNSPECIFIED, "", now);
    });
    if (!stored.ok()) return;
    services_.observer.OnFirstStep(job_.kind(), services_.clock.Steady() - claimed_at_);
  }
  progress_ = progress;
  services_.hub.SetProgress(uid_, attempt_, progress);
}

void Attempt::OnMetric(const v1::MetricEvent& metric) {
  v1::MetricEvent accepted;
  bool nonfinite = false;
  for (const v1::MetricPoint& point : metric.points()) {
    if (point.name().empty() || point.name().size() > kMaxMetricName) continue;
    if (!std::isfinite(point.value())) {
      nonfinite = true;
      continue;
    }
    if (metric_names_.size() >= kMaxMetricNames && !metric_names_.contains(point.name())) continue;
    metric_names_.insert(point.name());
    if (accepted.points_size() < kMaxPoints) *accepted.add_points() = point;
  }
  const bool warn = nonfinite && !std::exchange(warned_nonfinite_, true);
  if (accepted.points().empty() && !warn) return;
  const auto store = [&](JobDraft& draft) {
    const absl::Time now = services_.clock.Wall();
    for (const v1::MetricPoint& point : accepted.points()) SetLatest(draft.job, point);
    if (!accepted.points().empty()) *AddEvent(draft, v1::METRIC, now).mutable_metric() = accepted;
    if (warn) {
      v1::WarningEvent& warning = *AddEvent(draft, v1::WARNING, now).mutable_warning();
      warning.set_code("NONFINITE_METRIC");
      warning.set_text("a metric was NaN or infinite; such points are not kept");
    }
    return absl::OkStatus();
  };
  Change(store, /*may_linger=*/!warn).IgnoreError();
}

void Attempt::OnWarning(const v1::WarningEvent& warning) {
  Change([&](JobDraft& draft) {
    v1::WarningEvent& stored =
        *AddEvent(draft, v1::WARNING, services_.clock.Wall()).mutable_warning();
    stored.set_code(warning.code().substr(0, kMaxMetricName));
    stored.set_text(warning.text().substr(0, kMaxText));
    return absl::OkStatus();
  }).IgnoreError();
}

void Attempt::OnLog(const worker::v1::Log& log) {
  const std::string line = absl::StrCat(
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", services_.clock.Wall(), absl::UTCTimeZone()), " ",
      log.level().substr(0, 8), " ", log.text().substr(0, kMaxLogText), "\n");
  OnOutput(line);
}

void Attempt::OnOpenOutput(const worker::v1::OpenOutput& request) {
  worker::v1::Frame frame;
  worker::v1::OutputOpened& opened = *frame.mutable_output_opened();
  opened.set_output_id(request.output_id());
  const absl::Status failed = FailpointStatus("output.open");
  const absl::StatusOr<int> file =
      failed.ok() ? outputs_->Open(request.output_id(), request.max_bytes()) : failed;
  if (file.ok()) return Send(std::move(frame), {*file});
  opened.mutable_refusal()->set_code(static_cast<int>(file.status().code()));
  opened.mutable_refusal()->set_message(std::string(file.status().message()));
  Send(std::move(frame));
}

void Attempt::Publish(int64_t output_id, const v1::BlobRef& blob,
                      std::function<absl::Status(JobDraft&)> apply) {
  absl::Status status = outputs_->Publish(output_id, blob);
  if (status.ok()) {
    status =
        Await<Done>([&](Reply<Done> reply) {
          services_.store.PutBlobs(job_.tenant(), {blob}, services_.clock.Wall(), std::move(reply));
        }).status();
  }
  if (status.ok()) status = Change(std::move(apply));
  if (fenced_) return;
  if (status.ok()) published_.insert(blob.sha256());
  worker::v1::Frame frame;
  frame.mutable_published()->set_output_id(output_id);
  if (!status.ok()) {
    google::rpc::Status& refusal = *frame.mutable_published()->mutable_refusal();
    refusal.set_code(static_cast<int>(status.code()));
    refusal.set_message(std::string(status.message()));
  }
  Send(std::move(frame));
}

void Attempt::OnCheckpoint(const worker::v1::Checkpoint& checkpoint) {
  Publish(checkpoint.output_id(), checkpoint.blob(), [this, checkpoint](JobDraft& draft) {
    const absl::Time now = services_.clock.Wall();
    v1::CheckpointEvent& event = *AddEvent(draft, v1::CHECKPOINT, now).mutable_checkpoint();
    event.set_step(checkpoint.step());
    *event.mutable_blob() = checkpoint.blob();
    v1::Artifact& artifact = *draft.job.add_artifacts();
    artifact.set_role(kCheckpointRole);
    *artifact.mutable_blob() = checkpoint.blob();
    artifact.set_media_type("application/octet-stream");
    artifact.set_step(checkpoint.step());
    *artifact.mutable_create_time() = ToProto(now);
    ForgetOldCheckpoints(draft.job);
    return absl::OkStatus();
  });
}

void Attempt::OnArtifact(const worker::v1::Artifact& frame) {
  v1::Artifact artifact = frame.artifact();
  if (artifact.role() == kCheckpointRole || artifact.role().size() > kMaxMetricName ||
      artifact.name().size() > kMaxText || artifact.media_type().size() > kMaxText)
    return ProtocolError("an artifact with a bad role or name");
  Publish(frame.output_id(), artifact.blob(), [this, artifact](JobDraft& draft) mutable {
    const absl::Time now = services_.clock.Wall();
    if (draft.job.artifacts_size() >= kMaxArtifacts)
      return absl::ResourceExhaustedError("a job keeps at most 1000 artifacts");
    *artifact.mutable_create_time() = ToProto(now);
    *draft.job.add_artifacts() = artifact;
    *AddEvent(draft, v1::ARTIFACT, now).mutable_artifact() = artifact;
    return absl::OkStatus();
  });
}

void Attempt::OnResult(worker::v1::Result& result) {
  switch (result.result_case()) {
    case worker::v1::Result::kReport: {
      const absl::Status valid = CheckReport(result.report(), job_.kind(), published_);
      if (!valid.ok()) return ProtocolError(valid.message());
      end_.outcome = v1::ATTEMPT_SUCCEEDED;
      end_.report = std::move(*result.mutable_report());
      break;
    }
    case worker::v1::Result::kError:
      if (told_ != StopReason::kNone &&
          result.error().code() == static_cast<int>(absl::StatusCode::kCancelled)) {
        EndStopped(told_);
        break;
      }
      end_.outcome = CheckedOutcome(result.outcome());
      end_.error = result.error();
      end_.error.mutable_message()->resize(std::min(end_.error.message().size(), kMaxText));
      end_.error.clear_details();
      end_.message = end_.error.message();
      break;
    case worker::v1::Result::kStopped:
      if (told_ == StopReason::kNone) return ProtocolError("it stopped without being asked");
      EndStopped(told_);
      break;
    default:
      return ProtocolError("a result of another task");
  }
  ended_ = true;
  exit_by_ = services_.clock.Steady() + kExitLimit;
}

}  // namespace adamant
