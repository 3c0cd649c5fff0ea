// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "adamant/v1/robustness_service.pb.h"
#include "server/jobs/events.h"

namespace adamant {

// Where a watcher stands in the messages of a job, and which comes next: log bytes, durable events
// in the order of seq, then progress. Holds no message but at most one of its own. Not thread-safe.
class WatchCursor {
 public:
  explicit WatchCursor(const v1::WatchJobRequest& request);

  // Places the cursor and makes the snapshot the next message. OUT_OF_RANGE / EVENTS_COMPACTED;
  // INVALID_ARGUMENT / BAD_SEQ. `subscription` is borrowed.
  absl::Status Begin(v1::Job job, int64_t compacted_through, absl::Time now,
                     const EventHub::Subscription& subscription);

  // What to send now. None when nothing is new, when the store has to be asked (`needs_store`), or
  // when progress is held back until `progress_at`.
  struct Next {
    std::optional<SharedEvent> event;
    bool needs_store = false;
    absl::Time progress_at = absl::InfiniteFuture();
  };
  Next Take(absl::Time now);
  // Whether a durable event is at hand that Take will return.
  bool HasMore() const;

  // What Subscription::ReadOlder gave for seq().
  void Add(std::shared_ptr<const EventBatch> batch);

  // A BOOKMARK or GOING_AWAY that states where the watcher stands.
  SharedEvent Mark(v1::EventType type, absl::Time now) const;
  // The last durable event that was taken or left out.
  int64_t seq() const { return seq_; }
  // Durable events behind that one.
  int64_t lag() const { return std::max<int64_t>(0, ring().last_seq() - seq_); }

 private:
  bool Wants(v1::EventType type) const { return types_.empty() || types_.count(type) > 0; }
  bool Wanted(const SharedEvent& event) const {
    return event.terminal || (Wants(event.type) && !only_terminal_);
  }
  EventRing::Found Peek(SharedEvent& event) const;
  std::optional<SharedEvent> TakeDurable(bool& needs_store);
  std::optional<SharedEvent> TakeProgress(absl::Time now, absl::Time& progress_at);
  const EventRing& ring() const { return subscription_->ring(); }

  const int64_t from_seq_;
  const std::set<int> types_;  // empty = all
  const absl::Duration interval_;
  const EventHub::Subscription* subscription_ = nullptr;
  std::optional<SharedEvent> snapshot_;      // to be sent first
  std::shared_ptr<const EventBatch> batch_;  // from the store
  size_t batch_index_ = 0;
  int64_t seq_ = 0;
  int64_t known_last_ = 0;  // last_event_seq of the snapshot
  int64_t log_offset_ = 0;
  int64_t progress_version_ = 0;
  absl::Time next_progress_ = absl::InfinitePast();
  bool only_terminal_ = false;  // the job had ended: its last event is sent again, no other
};

}  // namespace adamant
