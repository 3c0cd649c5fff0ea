// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "adamant/v1/job.pb.h"
#include "server/store/job_store.h"

namespace adamant {

// Wakes watchers and keeps what is volatile about a job. A watcher is a cursor into the event log,
// never a queue: it reads events after its own seq when told that there is news, so a slow one
// costs nothing. Thread-safe.
class EventHub : public StoreObserver {
 public:
  explicit EventHub(JobStore& store) : store_(store) {}

  // Ends when destroyed: `on_news` is not running and will not be called again.
  class Subscription {
   public:
    ~Subscription();

   private:
    friend class EventHub;
    Subscription(EventHub& hub, std::string uid, int64_t id)
        : hub_(hub), uid_(std::move(uid)), id_(id) {}
    EventHub& hub_;
    const std::string uid_;
    const int64_t id_;
  };

  // `on_news` is a hint that the job has new durable events, newer progress or more log bytes. It
  // is called from any thread, possibly with nothing new; it must not block, nor subscribe or
  // destroy a subscription.
  std::unique_ptr<Subscription> Subscribe(std::string uid, std::function<void()> on_news);

  // Durable events. Recent ones come from memory, on the calling thread.
  void Read(EventQuery query, Reply<EventPage> reply);

  // The newest PROGRESS event of a running job. `version` grows with each one.
  struct LiveProgress {
    v1::JobEvent event;
    int64_t version = 0;
  };
  std::optional<LiveProgress> Progress(const std::string& uid) const;
  // Fills `progress` and `log_bytes` of a live job with the newest values.
  void Decorate(v1::Job& job) const;

  void SetProgress(const std::string& uid, const v1::Attempt& attempt,
                   const v1::Progress& progress);
  void SetLogBytes(const std::string& uid, int64_t bytes);

  int64_t watchers() const;

  void OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) override;

 private:
  struct Live {
    std::optional<LiveProgress> progress;
    int64_t log_bytes = 0;
  };

  void Wake(const std::string& uid);
  void Unsubscribe(const std::string& uid, int64_t id);

  JobStore& store_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Live> live_ ABSL_GUARDED_BY(mutex_);  // by uid
  int64_t next_version_ ABSL_GUARDED_BY(mutex_) = 1;

  mutable absl::Mutex watchers_mutex_;  // held while `on_news` runs
  absl::flat_hash_map<std::string, std::map<int64_t, std::function<void()>>> watchers_
      ABSL_GUARDED_BY(watchers_mutex_);
  int64_t next_watcher_ ABSL_GUARDED_BY(watchers_mutex_) = 1;
};

}  // namespace adamant
