// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "adamant/v1/job.pb.h"
#include "server/jobs/event_ring.h"
#include "server/store/job_store.h"

namespace adamant {

// A piece of the event log of a job that its watchers share. Immutable.
struct EventBatch {
  std::vector<SharedEvent> events;  // in the order of seq
  int64_t compacted_through_seq = 0;
};

// Wakes watchers and keeps what is volatile about a job. A watcher is a cursor into the event log,
// never a queue: it takes what follows its own seq when told that there is news, so a slow one
// costs nothing. Thread-safe.
class EventHub : public StoreObserver {
  struct Feed;

 public:
  explicit EventHub(JobStore& store) : store_(store) {}
  ~EventHub() override;

  // Ends when destroyed: `on_news` is not running and will not be called again.
  class Subscription {
   public:
    ~Subscription();

    const EventRing& ring() const;
    // The job was deleted.
    bool gone() const;
    // Durable events after `after` that are no longer in the ring, one batch of them. Watchers that
    // read the same part of a job at about the same time share one read of the store.
    void ReadOlder(int64_t after, Reply<std::shared_ptr<const EventBatch>> reply);

   private:
    friend class EventHub;
    Subscription(EventHub& hub, std::string uid, std::shared_ptr<Feed> feed, int64_t id)
        : hub_(hub), uid_(std::move(uid)), feed_(std::move(feed)), id_(id) {}
    EventHub& hub_;
    const std::string uid_;
    const std::shared_ptr<Feed> feed_;
    const int64_t id_;
  };

  // `on_news` is a hint that the job has new durable events, newer progress or more log bytes. It
  // is called from any thread, possibly with nothing new; it must not block, nor subscribe or
  // destroy a subscription.
  std::unique_ptr<Subscription> Subscribe(std::string uid, std::function<void()> on_news);

  // Durable events. Recent ones come from memory, on the calling thread.
  void Read(EventQuery query, Reply<EventPage> reply);

  // Fills `progress` and `log_bytes` of a live job with the newest values.
  void Decorate(v1::Job& job) const;

  // Both have no effect for a job that no worker holds.
  void SetProgress(const std::string& uid, const v1::Attempt& attempt,
                   const v1::Progress& progress);
  // `data` was written to the log of the job at `offset`, counted over all attempts.
  void AddLog(const std::string& uid, const v1::Attempt& attempt, int64_t offset,
              absl::string_view data);

  int64_t watchers() const;

  // The server ends: tells every watcher that there is news, namely going_away().
  void GoAway();
  bool going_away() const { return going_away_; }

  void OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) override;
  void OnJobGone(const v1::Job& job) override;

 private:
  using BatchReply = Reply<std::shared_ptr<const EventBatch>>;

  std::shared_ptr<Feed> Find(const std::string& uid) const;
  std::shared_ptr<Feed> FindOrMake(const std::string& uid);
  void Wake(Feed& feed);
  void Unsubscribe(const std::string& uid, const std::shared_ptr<Feed>& feed, int64_t id);
  static void FinishRead(Feed& feed, int64_t after, absl::StatusOr<EventPage> page);

  JobStore& store_;
  std::atomic<bool> going_away_{false};
  mutable absl::Mutex mutex_;
  // By uid: jobs that have a worker or a watcher.
  absl::flat_hash_map<std::string, std::shared_ptr<Feed>> feeds_ ABSL_GUARDED_BY(mutex_);
  int64_t watchers_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t next_watcher_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace adamant
