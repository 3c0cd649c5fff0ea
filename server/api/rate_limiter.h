// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace adamant {

// A token bucket per key; a rate of 0 is no limit. Buckets that are full again are forgotten, so
// that the memory is bounded by what came lately. Thread-safe.
class RateLimiter {
 public:
  RateLimiter(double per_second, double burst) : per_second_(per_second), burst_(burst) {}

  // Takes a token and returns zero, or returns how long to wait for one.
  absl::Duration Take(absl::string_view key, absl::Time now);

  size_t size() const;

 private:
  struct Bucket {
    double tokens;
    absl::Time filled;
  };
  double Filled(const Bucket& bucket, absl::Time now) const;
  void Forget(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const double per_second_;
  const double burst_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Bucket> buckets_ ABSL_GUARDED_BY(mutex_);
  absl::Time forget_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace adamant
