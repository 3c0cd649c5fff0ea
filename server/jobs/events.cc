// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/events.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <utility>

#include "absl/time/clock.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr int kBatchEvents = 256;
constexpr size_t kKeptBatches = 4;

std::string UidOf(const v1::Job& job) { return job.name().substr(job.name().find('/') + 1); }

}  // namespace

// What the watchers of one job share.
struct EventHub::Feed {
  EventRing ring;
  std::atomic<bool> gone{false};

  absl::Mutex watchers_mutex;  // held while `on_news` runs
  std::map<int64_t, std::function<void()>> watchers ABSL_GUARDED_BY(watchers_mutex);

  absl::Mutex mutex;
  bool has_worker ABSL_GUARDED_BY(mutex) = false;
  std::optional<v1::Progress> progress ABSL_GUARDED_BY(mutex);
  int64_t log_bytes ABSL_GUARDED_BY(mutex) = 0;
  // Parts of the stored log that were read lately, and who waits for one: by the seq before it.
  std::deque<std::pair<int64_t, std::shared_ptr<const EventBatch>>> batches ABSL_GUARDED_BY(mutex);
  std::map<int64_t, std::vector<BatchReply>> reading ABSL_GUARDED_BY(mutex);
};

EventHub::~EventHub() = default;

EventHub::Subscription::~Subscription() { hub_.Unsubscribe(uid_, feed_, id_); }

const EventRing& EventHub::Subscription::ring() const { return feed_->ring; }

bool EventHub::Subscription::gone() const { return feed_->gone; }

void EventHub::Subscription::ReadOlder(int64_t after, BatchReply reply) {
  std::shared_ptr<const EventBatch> known;
  {
    absl::MutexLock lock(&feed_->mutex);
    for (const auto& [before, batch] : feed_->batches) {
      if (before == after) known = batch;
    }
    if (known == nullptr) {
      std::vector<BatchReply>& waiting = feed_->reading[after];
      waiting.push_back(std::move(reply));
      if (waiting.size() > 1) return;
    }
  }
  if (known != nullptr) return reply(std::move(known));
  hub_.store_.ReadEvents({uid_, after, kBatchEvents, {}},
                         [feed = feed_, after](absl::StatusOr<EventPage> page) {
                           FinishRead(*feed, after, std::move(page));
                         });
}

void EventHub::FinishRead(Feed& feed, int64_t after, absl::StatusOr<EventPage> page) {
  absl::StatusOr<std::shared_ptr<const EventBatch>> batch = absl::UnknownError("not read");
  if (!page.ok()) {
    batch = page.status();
  } else {
    auto read = std::make_shared<EventBatch>();
    read->compacted_through_seq = page->compacted_through_seq;
    for (const v1::JobEvent& event : page->events) read->events.push_back(ShareEvent(event));
    batch = std::move(read);
  }
  std::vector<BatchReply> waiting;
  {
    absl::MutexLock lock(&feed.mutex);
    waiting = std::move(feed.reading[after]);
    feed.reading.erase(after);
    if (batch.ok() && !(*batch)->events.empty()) feed.batches.emplace_back(after, *batch);
    if (feed.batches.size() > kKeptBatches) feed.batches.pop_front();
  }
  for (const BatchReply& reply : waiting) reply(batch);
}

std::shared_ptr<EventHub::Feed> EventHub::Find(const std::string& uid) const {
  absl::MutexLock lock(&mutex_);
  const auto found = feeds_.find(uid);
  return found == feeds_.end() ? nullptr : found->second;
}

std::shared_ptr<EventHub::Feed> EventHub::FindOrMake(const std::string& uid) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<Feed>& feed = feeds_[uid];
  if (feed == nullptr) feed = std::make_shared<Feed>();
  return feed;
}

std::unique_ptr<EventHub::Subscription> EventHub::Subscribe(std::string uid,
                                                            std::function<void()> on_news) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<Feed>& feed = feeds_[uid];
  if (feed == nullptr) feed = std::make_shared<Feed>();
  const int64_t id = next_watcher_++;
  ++watchers_;
  absl::MutexLock watchers_lock(&feed->watchers_mutex);
  feed->watchers.emplace(id, std::move(on_news));
  return std::unique_ptr<Subscription>(new Subscription(*this, std::move(uid), feed, id));
}

void EventHub::Unsubscribe(const std::string& uid, const std::shared_ptr<Feed>& feed, int64_t id) {
  absl::MutexLock lock(&mutex_);
  --watchers_;
  bool needed;
  {
    absl::MutexLock feed_lock(&feed->mutex);
    needed = feed->has_worker;
  }
  {
    absl::MutexLock watchers_lock(&feed->watchers_mutex);
    feed->watchers.erase(id);
    needed = needed || !feed->watchers.empty();
  }
  const auto found = feeds_.find(uid);
  if (!needed && found != feeds_.end() && found->second == feed) feeds_.erase(found);
}

void EventHub::Wake(Feed& feed) {
  absl::MutexLock lock(&feed.watchers_mutex);
  for (const auto& [id, on_news] : feed.watchers) on_news();
}

void EventHub::Read(EventQuery query, Reply<EventPage> reply) {
  const std::shared_ptr<Feed> feed = Find(query.uid);
  SharedEvent event;
  if (feed == nullptr || feed->ring.Next(query.after, event) == EventRing::Found::kOlder)
    return store_.ReadEvents(std::move(query), std::move(reply));
  EventPage page;
  int64_t after = query.after;
  while (static_cast<int>(page.events.size()) < query.limit &&
         feed->ring.Next(after, event) == EventRing::Found::kEvent) {
    after = event.seq;
    const bool wanted = query.types.empty() || std::find(query.types.begin(), query.types.end(),
                                                         event.type) != query.types.end();
    if (wanted) page.events.emplace_back().ParseFromString(*event.bytes);
  }
  reply(std::move(page));
}

void EventHub::Decorate(v1::Job& job) const {
  if (!HasWorker(job.state())) return;
  const std::shared_ptr<Feed> feed = Find(UidOf(job));
  if (feed == nullptr) return;
  absl::MutexLock lock(&feed->mutex);
  if (feed->progress.has_value()) *job.mutable_progress() = *feed->progress;
  job.set_log_bytes(std::max(job.log_bytes(), feed->log_bytes));
}

void EventHub::SetProgress(const std::string& uid, const v1::Attempt& attempt,
                           const v1::Progress& progress) {
  const std::shared_ptr<Feed> feed = Find(uid);
  if (feed == nullptr) return;
  v1::JobEvent event;
  event.set_type(v1::PROGRESS);
  *event.mutable_time() = progress.update_time();
  event.set_attempt(attempt.number());
  event.set_fence(attempt.fence());
  *event.mutable_progress() = progress;
  {
    absl::MutexLock lock(&feed->mutex);
    feed->progress = progress;
  }
  feed->ring.SetProgress(event);
  Wake(*feed);
}

void EventHub::AddLog(const std::string& uid, const v1::Attempt& attempt, int64_t offset,
                      absl::string_view data) {
  const std::shared_ptr<Feed> feed = Find(uid);
  if (feed == nullptr || data.empty()) return;
  v1::JobEvent event;
  event.set_type(v1::LOG);
  *event.mutable_time() = ToProto(absl::Now());
  event.set_attempt(attempt.number());
  event.set_fence(attempt.fence());
  event.mutable_log()->set_offset(offset);
  event.mutable_log()->set_data(data.data(), data.size());
  feed->ring.AddLog(event);
  {
    absl::MutexLock lock(&feed->mutex);
    feed->log_bytes = offset + static_cast<int64_t>(data.size());
  }
  Wake(*feed);
}

int64_t EventHub::watchers() const {
  absl::MutexLock lock(&mutex_);
  return watchers_;
}

void EventHub::GoAway() {
  going_away_ = true;
  std::vector<std::shared_ptr<Feed>> feeds;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [uid, feed] : feeds_) feeds.push_back(feed);
  }
  for (const std::shared_ptr<Feed>& feed : feeds) Wake(*feed);
}

void EventHub::OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) {
  const std::string uid = UidOf(job);
  const bool has_worker = HasWorker(job.state());
  const std::shared_ptr<Feed> feed = has_worker ? FindOrMake(uid) : Find(uid);
  if (feed == nullptr) return;
  for (const v1::JobEvent& event : new_events) feed->ring.Add(event);
  {
    absl::MutexLock lock(&feed->mutex);
    feed->has_worker = has_worker;
    if (!has_worker) feed->progress.reset();
  }
  if (!has_worker) feed->ring.ClearProgress();
  Wake(*feed);
  if (has_worker) return;
  absl::MutexLock lock(&mutex_);
  absl::MutexLock watchers_lock(&feed->watchers_mutex);
  const auto found = feeds_.find(uid);
  if (feed->watchers.empty() && found != feeds_.end() && found->second == feed) feeds_.erase(found);
}

void EventHub::OnJobGone(const v1::Job& job) {
  const std::shared_ptr<Feed> feed = Find(UidOf(job));
  if (feed == nullptr) return;
  feed->gone = true;
  Wake(*feed);
}

}  // namespace adamant
