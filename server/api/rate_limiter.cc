// SPDX-License-Identifier: Apache-2.0
#include "server/api/rate_limiter.h"

#include <algorithm>

namespace adamant {
namespace {

constexpr size_t kFewBuckets = 1024;  // not worth looking through
constexpr absl::Duration kForgetEvery = absl::Seconds(1);

}  // namespace

double RateLimiter::Filled(const Bucket& bucket, absl::Time now) const {
  const double passed = std::max(0.0, absl::ToDoubleSeconds(now - bucket.filled));
  return std::min(burst_, bucket.tokens + passed * per_second_);
}

absl::Duration RateLimiter::Take(absl::string_view key, absl::Time now) {
  if (per_second_ <= 0) return absl::ZeroDuration();
  absl::MutexLock lock(&mutex_);
  if (buckets_.size() > kFewBuckets && now >= forget_at_) Forget(now);
  auto found = buckets_.find(key);
  if (found == buckets_.end())
    found = buckets_.emplace(std::string(key), Bucket{burst_, now}).first;
  Bucket& bucket = found->second;
  bucket = {Filled(bucket, now), std::max(now, bucket.filled)};
  if (bucket.tokens < 1) return absl::Seconds((1 - bucket.tokens) / per_second_);
  bucket.tokens -= 1;
  return absl::ZeroDuration();
}

void RateLimiter::Forget(absl::Time now) {
  forget_at_ = now + kForgetEvery;
  absl::erase_if(buckets_, [&](const auto& entry) { return Filled(entry.second, now) >= burst_; });
}

size_t RateLimiter::size() const {
  absl::MutexLock lock(&mutex_);
  return buckets_.size();
}

}  // namespace adamant
