// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/report.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/client.h"

namespace adamant {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

std::string StateLine(const v1::Job& job, bool colour) {
  std::string text = StateText(job.state(), colour);
  if (job.state_reason() != v1::STATE_REASON_UNSPECIFIED) {
    absl::StrAppend(&text, " / ", v1::StateReason_Name(job.state_reason()));
  }
  if (!job.state_message().empty()) absl::StrAppend(&text, ": ", job.state_message());
  return text;
}

std::string ErrorText(const v1::Job& job) {
  return job.error().message() == job.state_message() ? "" : job.error().message();
}

std::string ProgressText(const v1::Job& job) {
  if (HasEnded(job.state()) || job.progress().phase().empty()) return "";
  const v1::Progress& progress = job.progress();
  return absl::StrCat(progress.phase(), ", step ", progress.step(), " of ", progress.total_steps(),
                      " (", static_cast<int>(100 * progress.fraction_ratio()), " %)");
}

std::string QueueText(const v1::Job& job) {
  if (job.state() != v1::QUEUED || job.queue().position() == 0) return "";
  std::string text = absl::StrCat("position ", job.queue().position());
  if (job.queue().blocking_reason() != v1::BLOCKING_REASON_UNSPECIFIED) {
    absl::StrAppend(&text, ", ", v1::BlockingReason_Name(job.queue().blocking_reason()));
  }
  if (!job.queue().blocking_message().empty()) {
    absl::StrAppend(&text, ": ", job.queue().blocking_message());
  }
  return text;
}

std::string ExpectedText(const v1::Job& job) {
  return job.state() == v1::QUEUED ? TimeText(job.queue().estimated_start()) : "";
}

std::string RunText(const v1::Job& job) {
  if (job.end_time().seconds() == 0 || job.start_time().seconds() == 0) return "";
  return SecondsText(static_cast<double>(job.end_time().seconds() - job.start_time().seconds()) +
                     1e-9 * (job.end_time().nanos() - job.start_time().nanos()));
}

std::string ArtifactsText(const v1::Job& job) {
  if (job.artifacts().empty()) return "";
  Table table({"ARTIFACT", "ROLE", "SIZE", "BLOB"});
  for (const v1::Artifact& artifact : job.artifacts()) {
    table.Add({artifact.name().empty() ? artifact.role() : artifact.name(), artifact.role(),
               BytesText(artifact.blob().size_bytes()), BlobName(artifact.blob())});
  }
  const std::string uid(absl::StripPrefix(job.name(), "jobs/"));
  return absl::StrCat("\nArtifacts (all: `adamant job get ", uid,
                      " --save DIR`, one: `adamant blob get BLOB FILE`)\n", table.Render("  "));
}

std::string AttemptsText(const v1::Job& job) {
  Table table({"ATTEMPT", "OUTCOME", "DEVICE", "STARTED", "PEAK MEMORY", "ERROR"});
  for (const v1::Attempt& attempt : job.attempts()) {
    table.Add({absl::StrCat(attempt.number()),
               attempt.outcome() == v1::ATTEMPT_OUTCOME_UNSPECIFIED
                   ? "running"
                   : std::string(
                         absl::StripPrefix(v1::AttemptOutcome_Name(attempt.outcome()), "ATTEMPT_")),
               attempt.device(), TimeText(attempt.start_time()),
               BytesText(attempt.peak_host_bytes()), attempt.error().message()});
  }
  return table.empty() ? "" : absl::StrCat("\nAttempts\n", table.Render("  "));
}

std::string ResultText(const v1::Job& job, bool wide) {
  switch (job.result().report_case()) {
    case v1::JobReport::kTrain:
      return TrainReportText(job, wide);
    case v1::JobReport::kAttack:
      return AttackReportText(job, wide);
    case v1::JobReport::kExplain:
      return ExplainReportText(job, wide);
    default:
      return "";
  }
}

}  // namespace

std::string AnalysisText(const v1::AnalysisTable& table) {
  std::vector<std::string> header;
  for (const v1::TableColumn& column : table.columns()) {
    header.push_back(column.unit().empty() ? column.name()
                                           : absl::StrCat(column.name(), " [", column.unit(), "]"));
  }
  Table text(header);
  for (const v1::TableRow& row : table.rows()) {
    std::vector<std::string> cells;
    for (const v1::TableCell& cell : row.cells()) {
      cells.push_back(cell.has_text() ? cell.text() : NumberText(cell.number()));
    }
    cells.resize(header.size());
    text.Add(std::move(cells));
  }
  return absl::StrCat("\n", table.analysis(), table.name().empty() ? "" : ": ", table.name(), "\n",
                      text.Render("  "), NotesText("", table.notes()));
}

std::string NotesText(const std::string& heading,
                      const google::protobuf::RepeatedPtrField<std::string>& notes) {
  if (notes.empty()) return "";
  std::string text = heading.empty() ? "" : absl::StrCat("\n", heading, "\n");
  for (const std::string& note : notes) absl::StrAppend(&text, "  - ", note, "\n");
  return text;
}

std::string JobText(const v1::Job& job, bool wide, bool colour) {
  Fields fields = {{"Job", job.name()},
                   {"Kind", v1::JobKind_Name(job.kind())},
                   {"Name", job.options().display_name()},
                   {"State", StateLine(job, colour)},
                   {"Error", ErrorText(job)},
                   {"Progress", ProgressText(job)},
                   {"Queue", QueueText(job)},
                   {"Expected start", ExpectedText(job)},
                   {"Created", TimeText(job.create_time())},
                   {"Run time", RunText(job)}};
  if (!job.retry_of().empty()) fields.emplace_back("Retry of", job.retry_of());
  if (job.attempt() > 1) fields.emplace_back("Attempt", absl::StrCat(job.attempt()));
  if (job.result().report_case() == v1::JobReport::REPORT_NOT_SET) {
    for (const v1::MetricValue& metric : job.latest_metrics()) {
      fields.emplace_back(metric.name(), NumberText(metric.value()));
    }
  }
  const bool many = wide || job.attempt() > 1 || job.state() == v1::FAILED;
  return absl::StrCat(RenderFields(fields), ResultText(job, wide), many ? AttemptsText(job) : "",
                      ArtifactsText(job));
}

}  // namespace adamant
