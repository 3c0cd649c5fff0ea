// SPDX-License-Identifier: Apache-2.0
#include "client/cli/progress.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/text.h"
#include "client/client.h"

namespace adamant {
namespace {

constexpr absl::Duration kLineInterval = absl::Seconds(10);

bool IsAccuracy(const std::string& name) {
  return name == "clean_accuracy" || absl::StartsWith(name, "robust_accuracy");
}

// "clean", "robust", "robust pgd".
std::string AccuracyName(const std::string& name) {
  if (name == "clean_accuracy") return "clean";
  const absl::string_view rest = absl::string_view(name).substr(sizeof("robust_accuracy") - 1);
  return rest.empty() ? "robust" : absl::StrCat("robust ", rest.substr(1));
}

}  // namespace

void ProgressView::Clear() {
  if (bar_shown_) err_ << "\r\033[K" << std::flush;
  bar_shown_ = false;
}

void ProgressView::Line(const std::string& text) {
  Clear();
  err_ << text << "\n" << std::flush;
}

std::string ProgressView::StatusText() const {
  std::string text;
  if (progress_.total_steps() > 0) {
    absl::StrAppend(&text, "step ", progress_.step(), "/", progress_.total_steps());
  }
  if (progress_.epoch() > 0) absl::StrAppend(&text, "  epoch ", progress_.epoch());
  if (const auto loss = metrics_.find("loss"); loss != metrics_.end()) {
    absl::StrAppend(&text, "  loss ", NumberText(loss->second));
  }
  for (const auto& [name, value] : metrics_) {
    if (IsAccuracy(name)) absl::StrAppend(&text, "  ", AccuracyName(name), " ", PercentText(value));
  }
  for (const auto& [metric, word] :
       {std::pair("broken_samples", "broken"), std::pair("robust_samples", "robust")}) {
    const auto count = metrics_.find(metric);
    if (count == metrics_.end()) continue;
    absl::StrAppend(&text, "  ", CountText(static_cast<int64_t>(count->second)), " ", word);
  }
  if (progress_.samples_per_second() > 0) {
    absl::StrAppendFormat(&text, "  %.0f samples/s", progress_.samples_per_second());
  }
  if (progress_.eta().seconds() > 0) {
    absl::StrAppend(&text, "  ETA ", SecondsText(static_cast<double>(progress_.eta().seconds())));
  }
  return std::string(absl::StripLeadingAsciiWhitespace(text));
}

void ProgressView::Refresh() {
  // A worker that only starts has nothing to say yet.
  if (progress_.total_steps() == 0 && progress_.fraction_ratio() <= 0) return;
  const int percent = static_cast<int>(100 * std::clamp(progress_.fraction_ratio(), 0.0, 1.0));
  if (bar_width_ == 0) {
    if (now_() - last_line_ < kLineInterval) return;
    last_line_ = now_();
    const std::string text =
        absl::StrFormat("%s  %d %%  %s", progress_.phase(), percent, StatusText());
    Line(std::string(absl::StripTrailingAsciiWhitespace(text)));
    return;
  }
  constexpr int kCells = 24;
  const int done = percent * kCells / 100;
  std::string bar =
      absl::StrFormat("[%s%s] %3d %%  %s  %s", std::string(done, '='),
                      std::string(kCells - done, ' '), percent, progress_.phase(), StatusText());
  bar.resize(std::min(bar.size(), static_cast<size_t>(bar_width_ - 1)));
  err_ << "\r" << bar << "\033[K" << std::flush;
  bar_shown_ = true;
}

void ProgressView::OnMetric(const v1::JobEvent& event) {
  bool evaluated = false;
  int64_t step = 0;
  for (const v1::MetricPoint& point : event.metric().points()) {
    metrics_[point.name()] = point.value();
    evaluated = evaluated || IsAccuracy(point.name());
    step = std::max(step, point.step());
  }
  if (!evaluated || kind_ == v1::ATTACK || kind_ == v1::EXPLAIN) return;
  std::string text = absl::StrCat("evaluation at step ", step, ":");
  for (const v1::MetricPoint& point : event.metric().points()) {
    if (!IsAccuracy(point.name())) continue;
    absl::StrAppend(&text, "  ", AccuracyName(point.name()), " ", PercentText(point.value()));
  }
  if (const auto loss = metrics_.find("train_loss"); loss != metrics_.end()) {
    absl::StrAppend(&text, "  loss ", NumberText(loss->second));
  }
  Line(text);
}

void ProgressView::OnSnapshot(const v1::Job& job) {
  kind_ = job.kind();
  progress_ = job.progress();
  for (const v1::MetricValue& metric : job.latest_metrics()) {
    metrics_[metric.name()] = metric.value();
  }
  if (state_ == job.state()) return;
  state_ = job.state();
  std::string text = absl::StrCat(job.name(), " is ", v1::JobState_Name(job.state()));
  if (!job.queue().blocking_message().empty()) {
    absl::StrAppend(&text, ": ", job.queue().blocking_message());
  } else if (job.queue().jobs_ahead() > 0) {
    absl::StrAppend(&text, ": ", job.queue().jobs_ahead(), " jobs ahead");
  }
  Line(text);
}

void ProgressView::OnEvent(const v1::JobEvent& event) {
  switch (event.body_case()) {
    case v1::JobEvent::kSnapshot:
      OnSnapshot(event.snapshot());
      break;
    case v1::JobEvent::kState:
      if (state_ == event.state().to()) return;
      state_ = event.state().to();
      Line(absl::StrCat("state ", v1::JobState_Name(state_),
                        event.state().message().empty() ? "" : ": ", event.state().message()));
      break;
    case v1::JobEvent::kWarning:
      Line(absl::StrCat("warning ", event.warning().code(), ": ", event.warning().text()));
      break;
    case v1::JobEvent::kMetric:
      OnMetric(event);
      break;
    case v1::JobEvent::kProgress:
      progress_ = event.progress();
      break;
    default:
      return;
  }
  if (!HasEnded(state_)) Refresh();
}

}  // namespace adamant
