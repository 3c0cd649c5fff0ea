// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "adamant/v1/job.pb.h"

namespace adamant {

// Every live job and those that ended last, as of the latest announced commit. Thread-safe.
class JobCache {
 public:
  static constexpr size_t kMaxEnded = 1000;
  static constexpr size_t kMaxEndedBytes = 16 << 20;  // serialised

  void Put(const v1::Job& job);
  void Remove(const v1::Job& job);
  // Null when it is not here: it ended long ago, or does not exist.
  std::shared_ptr<const v1::Job> Find(const std::string& uid) const;

 private:
  struct Ended {
    std::string uid;
    size_t bytes;
  };

  void Shrink() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<const v1::Job>> jobs_ ABSL_GUARDED_BY(mutex_);
  std::deque<Ended> ended_ ABSL_GUARDED_BY(mutex_);  // oldest first; one may be gone already
  size_t ended_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace adamant
