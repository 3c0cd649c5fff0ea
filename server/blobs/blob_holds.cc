// SPDX-License-Identifier: Apache-2.0
#include "server/blobs/blob_holds.h"

namespace adamant {

std::shared_ptr<const void> BlobHolds::Hold(const std::string& sha256) {
  {
    absl::MutexLock lock(&mutex_);
    ++held_[sha256];
    condemned_.erase(sha256);
  }
  return std::shared_ptr<const void>(
      this, [holds = shared_from_this(), sha256](const void*) { holds->Release(sha256); });
}

void BlobHolds::Release(const std::string& sha256) {
  absl::MutexLock lock(&mutex_);
  const auto found = held_.find(sha256);
  if (--found->second == 0) held_.erase(found);
}

void BlobHolds::Condemn(const std::vector<std::string>& digests) {
  absl::MutexLock lock(&mutex_);
  condemned_.clear();
  for (const std::string& digest : digests) {
    if (!held_.contains(digest)) condemned_.insert(digest);
  }
}

}  // namespace adamant
