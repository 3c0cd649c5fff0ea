// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/events.h"

#include <algorithm>
#include <utility>

#include "server/jobs/job.h"

namespace adamant {

EventHub::Subscription::~Subscription() { hub_.Unsubscribe(uid_, id_); }

std::unique_ptr<EventHub::Subscription> EventHub::Subscribe(std::string uid,
                                                            std::function<void()> on_news) {
  absl::MutexLock lock(&watchers_mutex_);
  const int64_t id = next_watcher_++;
  watchers_[uid].emplace(id, std::move(on_news));
  return std::unique_ptr<Subscription>(new Subscription(*this, std::move(uid), id));
}

void EventHub::Unsubscribe(const std::string& uid, int64_t id) {
  absl::MutexLock lock(&watchers_mutex_);
  const auto found = watchers_.find(uid);
  found->second.erase(id);
  if (found->second.empty()) watchers_.erase(found);
}

void EventHub::Wake(const std::string& uid) {
  absl::MutexLock lock(&watchers_mutex_);
  const auto found = watchers_.find(uid);
  if (found == watchers_.end()) return;
  for (const auto& [id, on_news] : found->second) on_news();
}

void EventHub::Read(EventQuery query, Reply<EventPage> reply) {
  store_.ReadEvents(std::move(query), std::move(reply));
}

std::optional<EventHub::LiveProgress> EventHub::Progress(const std::string& uid) const {
  absl::MutexLock lock(&mutex_);
  const auto found = live_.find(uid);
  return found == live_.end() ? std::nullopt : found->second.progress;
}

void EventHub::Decorate(v1::Job& job) const {
  if (IsTerminal(job.state())) return;
  const absl::StatusOr<std::string> uid = JobUid(job.name());
  if (!uid.ok()) return;
  absl::MutexLock lock(&mutex_);
  const auto found = live_.find(*uid);
  if (found == live_.end()) return;
  if (found->second.progress.has_value())
    *job.mutable_progress() = found->second.progress->event.progress();
  job.set_log_bytes(std::max(job.log_bytes(), found->second.log_bytes));
}

void EventHub::SetProgress(const std::string& uid, const v1::Attempt& attempt,
                           const v1::Progress& progress) {
  LiveProgress live;
  live.event.set_type(v1::PROGRESS);
  *live.event.mutable_time() = progress.update_time();
  live.event.set_attempt(attempt.number());
  live.event.set_fence(attempt.fence());
  *live.event.mutable_progress() = progress;
  {
    absl::MutexLock lock(&mutex_);
    live.version = next_version_++;
    live_[uid].progress = std::move(live);
  }
  Wake(uid);
}

void EventHub::SetLogBytes(const std::string& uid, int64_t bytes) {
  {
    absl::MutexLock lock(&mutex_);
    live_[uid].log_bytes = bytes;
  }
  Wake(uid);
}

int64_t EventHub::watchers() const {
  absl::MutexLock lock(&watchers_mutex_);
  int64_t count = 0;
  for (const auto& [uid, of_job] : watchers_) count += static_cast<int64_t>(of_job.size());
  return count;
}

void EventHub::OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& /*new_events*/) {
  const std::string uid = job.name().substr(job.name().find('/') + 1);
  if (!HasWorker(job.state())) {
    absl::MutexLock lock(&mutex_);
    live_.erase(uid);
  }
  Wake(uid);
}

}  // namespace adamant
