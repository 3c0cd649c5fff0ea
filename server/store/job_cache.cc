// SPDX-License-Identifier: Apache-2.0
#include "server/store/job_cache.h"

#include <utility>

#include "server/store/job_row.h"

namespace adamant {

void JobCache::Put(const v1::Job& job) {
  std::string uid = UidOf(job);
  auto copy = std::make_shared<const v1::Job>(job);
  const size_t bytes = IsLive(job) ? 0 : job.ByteSizeLong();
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<const v1::Job>& place = jobs_[uid];
  const bool just_ended = bytes > 0 && (place == nullptr || IsLive(*place));
  place.swap(copy);
  if (!just_ended) return;
  ended_.push_back({std::move(uid), bytes});
  ended_bytes_ += bytes;
  Shrink();
}

void JobCache::Shrink() {
  while (ended_.size() > kMaxEnded || ended_bytes_ > kMaxEndedBytes) {
    jobs_.erase(ended_.front().uid);
    ended_bytes_ -= ended_.front().bytes;
    ended_.pop_front();
  }
}

void JobCache::Remove(const v1::Job& job) {
  absl::MutexLock lock(&mutex_);
  jobs_.erase(UidOf(job));
}

std::shared_ptr<const v1::Job> JobCache::Find(const std::string& uid) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto found = jobs_.find(uid);
  return found == jobs_.end() ? nullptr : found->second;
}

}  // namespace adamant
