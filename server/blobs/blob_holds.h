// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"

namespace adamant {

// Keeps garbage collection and writers of the same digest apart. A writer holds the digest from
// before it looks whether the object is there until the row that names it is committed. The
// collector condemns a digest, lets the store remove the row, then unlinks what is condemned still:
//
//   - a digest that is held cannot be condemned, and to hold it ends a condemnation;
//   - so a condemnation that lasts from before the row's removal to the unlink proves that no
//     writer was between its look and its commit in all that time;
//   - a writer that committed before the condemnation has a row that the store's removal sees;
//   - one that begins after the unlink finds no object and writes its own.
//
// Thread-safe.
class BlobHolds : public std::enable_shared_from_this<BlobHolds> {
 public:
  // Until the last copy of the result is gone.
  std::shared_ptr<const void> Hold(const std::string& sha256);

  // Condemns those that nobody holds; an earlier condemnation of others ends.
  void Condemn(const std::vector<std::string>& digests);

  // Runs `unlink` if the digest is condemned still; no hold begins meanwhile. False when it is not.
  template <typename Unlink>
  bool IfCondemned(const std::string& sha256, Unlink unlink) {
    absl::MutexLock lock(&mutex_);
    if (condemned_.erase(sha256) == 0) return false;
    unlink();
    return true;
  }

 private:
  void Release(const std::string& sha256);

  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, int> held_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<std::string> condemned_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace adamant
