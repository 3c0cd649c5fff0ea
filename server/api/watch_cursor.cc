// SPDX-License-Identifier: Apache-2.0
#include "server/api/watch_cursor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/api/status.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr absl::Duration kDefaultInterval = absl::Milliseconds(250);
constexpr absl::Duration kMinInterval = absl::Milliseconds(50);
constexpr int64_t kTerminalSearch = 32;  // the last STATE event is among the last few

absl::Duration Interval(const v1::WatchJobRequest& request) {
  if (!request.has_min_interval()) return kDefaultInterval;
  return std::max(kMinInterval, absl::Seconds(request.min_interval().seconds()) +
                                    absl::Nanoseconds(request.min_interval().nanos()));
}

}  // namespace

WatchCursor::WatchCursor(const v1::WatchJobRequest& request)
    : from_seq_(request.from_seq()),
      types_(request.types().begin(), request.types().end()),
      interval_(Interval(request)) {}

absl::Status WatchCursor::Begin(v1::Job job, int64_t compacted_through, absl::Time now,
                                const EventHub::Subscription& subscription) {
  const int64_t last = job.last_event_seq();
  if (from_seq_ < 0 || (from_seq_ > 1 && from_seq_ > last)) {
    return InvalidField(
        "from_seq", "BAD_SEQ",
        absl::StrCat("is ", from_seq_, "; it must be in [0, ", last, "], the last event"));
  }
  seq_ = from_seq_ == 0 ? last : from_seq_ == 1 ? 0 : from_seq_;
  if (seq_ < compacted_through && Wants(v1::METRIC)) {
    return WithReason(
        absl::OutOfRangeError(absl::StrCat(
            "the metrics up to event ", compacted_through,
            " were compacted; watch from the snapshot or without METRIC, and read them with "
            "ListMetricPoints")),
        "EVENTS_COMPACTED", {{"compacted_through_seq", absl::StrCat(compacted_through)}});
  }
  if (IsTerminal(job.state()) && seq_ >= last) {
    only_terminal_ = true;
    seq_ = std::max<int64_t>(0, last - kTerminalSearch);
  }
  subscription_ = &subscription;
  known_last_ = last;
  log_offset_ = job.log_bytes();
  v1::JobEvent snapshot;
  snapshot.set_type(v1::SNAPSHOT);
  snapshot.set_attempt(job.attempt());
  snapshot.set_compacted_through_seq(compacted_through);
  *snapshot.mutable_time() = ToProto(now);
  *snapshot.mutable_snapshot() = std::move(job);
  snapshot_ = ShareEvent(snapshot);
  return absl::OkStatus();
}

// The durable event behind the cursor.
EventRing::Found WatchCursor::Peek(SharedEvent& event) const {
  if (batch_ != nullptr) {
    event = batch_->events[batch_index_];
    return EventRing::Found::kEvent;
  }
  const EventRing::Found found = ring().Next(seq_, event);
  const bool nothing_known = ring().first_seq() == 0 && seq_ >= known_last_;
  return found == EventRing::Found::kOlder && nothing_known ? EventRing::Found::kNothing : found;
}

std::optional<SharedEvent> WatchCursor::TakeDurable(bool& needs_store) {
  SharedEvent event;
  while (true) {
    const EventRing::Found found = Peek(event);
    needs_store = found == EventRing::Found::kOlder;
    if (found != EventRing::Found::kEvent) return std::nullopt;
    seq_ = event.seq;
    if (batch_ != nullptr && ++batch_index_ >= batch_->events.size()) batch_.reset();
    if (Wanted(event)) return event;
  }
}

std::optional<SharedEvent> WatchCursor::TakeProgress(absl::Time now, absl::Time& progress_at) {
  if (!Wants(v1::PROGRESS) || only_terminal_) return std::nullopt;
  const std::optional<EventRing::Progress> progress = ring().LatestProgress();
  if (!progress.has_value() || progress->version == progress_version_) return std::nullopt;
  if (now < next_progress_) {
    progress_at = next_progress_;
    return std::nullopt;
  }
  progress_version_ = progress->version;
  next_progress_ = now + interval_;
  return progress->event;
}

// Log bytes come before events, so that none is behind the terminal one.
WatchCursor::Next WatchCursor::Take(absl::Time now) {
  Next next;
  if (snapshot_.has_value()) {
    next.event = std::exchange(snapshot_, std::nullopt);
    return next;
  }
  if (Wants(v1::LOG) && !only_terminal_) next.event = ring().NextLog(log_offset_);
  if (!next.event.has_value()) next.event = TakeDurable(next.needs_store);
  if (!next.event.has_value() && !next.needs_store)
    next.event = TakeProgress(now, next.progress_at);
  return next;
}

bool WatchCursor::HasMore() const {
  if (batch_ != nullptr) return Wanted(batch_->events[batch_index_]);
  SharedEvent next;
  return Peek(next) == EventRing::Found::kEvent && Wanted(next);
}

void WatchCursor::Add(std::shared_ptr<const EventBatch> batch) {
  if (batch->events.empty()) {  // what was there has been compacted
    seq_ = std::max({seq_, known_last_, ring().first_seq() - 1});
    return;
  }
  batch_ = std::move(batch);
  batch_index_ = 0;
}

SharedEvent WatchCursor::Mark(v1::EventType type, absl::Time now) const {
  v1::JobEvent event;
  event.set_type(type);
  event.set_seq(only_terminal_ ? known_last_ : seq_);
  *event.mutable_time() = ToProto(now);
  return ShareEvent(event);
}

}  // namespace adamant
