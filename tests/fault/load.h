// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tests/fault/api.h"
#include "tests/fault/history.h"

namespace adamant::testing {

struct LoadOptions {
  uint64_t seed = 1;
  size_t max_live = 12;  // jobs that are not known to have ended
  int max_step_milliseconds = 30;
  bool verbs = true;  // cancel, pause, resume, delete
  bool uploads = true;
};

// Clients of every kind, each on a thread of its own, that record what they were told: submits and
// repeated submits, verbs, watches that resume (one of them slow), reads, logs, uploads. They go on
// over a server that is killed and started again.
class Load {
 public:
  Load(const std::string& address, History& history, const LoadOptions& options);
  ~Load();
  void Stop();  // ends the threads

  // Acknowledged submits so far, duplicates included.
  int submits() const { return submits_; }

 private:
  using Random = std::mt19937_64;

  void Spawn(uint64_t number, void (Load::*step)(Random&));
  void Submit(Random& random);
  void Verbs(Random& random);
  void Read(Random& random);
  void Watch(Random& random) { WatchOne(random, absl::ZeroDuration()); }
  void WatchSlowly(Random& random) { WatchOne(random, absl::Milliseconds(20)); }
  void WatchOne(Random& random, absl::Duration pause);
  void Upload(Random& random);

  std::string Pick(Random& random, bool live_only) const;
  size_t live() const;
  void Ended(const std::string& job);

  Api api_;
  Api bulk_;
  History& history_;
  const LoadOptions options_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> submits_{0};
  mutable absl::Mutex mutex_;
  std::vector<std::string> jobs_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> live_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace adamant::testing
