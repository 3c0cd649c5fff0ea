// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

// One message of a watch: a serialised v1::JobEvent that all watchers share, and what they need to
// know of it.
struct SharedEvent {
  int64_t seq = 0;
  v1::EventType type = v1::EVENT_TYPE_UNSPECIFIED;
  bool terminal = false;
  std::shared_ptr<const std::string> bytes;
};

SharedEvent ShareEvent(const v1::JobEvent& event);
// Of an event that is serialised already. Reads its head only.
SharedEvent ShareEventBytes(std::string bytes);

// The newest messages of one job, from which its watchers are served: durable events in the order
// of seq without a gap, log bytes, and the latest progress. What does not fit is dropped, oldest
// first: events are then in the store, log bytes in the log file. Thread-safe.
class EventRing {
 public:
  static constexpr size_t kMaxEventBytes = 256 << 10;
  static constexpr size_t kMaxLogBytes = 64 << 10;

  void Add(const v1::JobEvent& event);

  enum class Found {
    kEvent,
    kNothing,  // no event is newer
    kOlder,    // it is not in memory; ask the store
  };
  // The first event with a larger seq than `after`. An empty ring knows nothing: kOlder.
  Found Next(int64_t after, SharedEvent& event) const;
  // 0 when the ring is empty.
  int64_t first_seq() const;
  int64_t last_seq() const;

  // `event` is a LOG event; its offset is that of ReadLog with all attempts.
  void AddLog(const v1::JobEvent& event);
  // The first LOG event that begins at `offset` or later; `offset` moves behind it. None when there
  // is no such event.
  std::optional<SharedEvent> NextLog(int64_t& offset) const;

  // Progress is replaced, never queued. `version` grows with each one.
  void SetProgress(const v1::JobEvent& event);
  void ClearProgress();
  struct Progress {
    SharedEvent event;
    int64_t version = 0;
  };
  std::optional<Progress> LatestProgress() const;

 private:
  struct LogChunk {
    int64_t begin;
    int64_t end;
    SharedEvent event;
  };

  mutable absl::Mutex mutex_;
  std::deque<SharedEvent> events_ ABSL_GUARDED_BY(mutex_);
  size_t event_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<LogChunk> log_ ABSL_GUARDED_BY(mutex_);
  size_t log_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<Progress> progress_ ABSL_GUARDED_BY(mutex_);
  int64_t next_version_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace adamant
