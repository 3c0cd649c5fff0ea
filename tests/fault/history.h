// SPDX-License-Identifier: Apache-2.0
// What clients of a fault test were told: the evidence that the oracle replays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "adamant/v1/job.pb.h"
#include "common/files.h"

namespace adamant::testing {

// One line of the history. Which fields an operation fills stands beside it.
struct Entry {
  // asked     request_id                   a submit goes out; it may or may not be acknowledged
  // submit    request_id, job              acknowledged
  // cancel    job, state                   acknowledged, the state it answered; also pause, resume
  // delete    job                          goes out
  // seen      job, state, digest, fence    a read; digest of the result when it is terminal
  // event     job, watch, seq, digest      a durable event that a watch delivered
  // ended     job, watch                   a watch ended with OK
  // upload    digest, size                 acknowledged
  // log       job, seq (offset), digest, size   log bytes that were read
  std::string op;
  std::string request_id = "";
  std::string job = "";
  std::string watch = "";
  std::string state = "";
  std::string digest = "";
  int64_t seq = 0;
  int64_t size = 0;
  int64_t fence = 0;

  bool operator==(const Entry&) const = default;
};

std::string ToJsonLine(const Entry& entry);
absl::StatusOr<Entry> ParseEntry(const std::string& line);

// Of the serialised result; "" without one.
std::string ResultDigest(const v1::Job& job);
std::string EventDigest(const v1::JobEvent& event);
Entry SeenEntry(const v1::Job& job);

// Appends to a JSON-lines file and syncs it before it returns: what is recorded was acknowledged
// whatever happens next. Thread-safe.
class History {
 public:
  explicit History(const std::string& path);
  void Add(const Entry& entry);
  std::vector<Entry> entries() const;

 private:
  mutable absl::Mutex mutex_;
  Descriptor file_ ABSL_GUARDED_BY(mutex_);
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::vector<Entry>> ReadHistory(const std::string& path);

}  // namespace adamant::testing
