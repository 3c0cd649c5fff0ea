// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/run_threads.h"

#include <algorithm>

#include "server/jobs/attempt_thread.h"
#include "server/jobs/job.h"

namespace adamant {

template <typename Key, typename Work, typename Run>
void RunThreads::Launch(std::map<Key, Running<Work>>& all, const Key& key,
                        std::unique_ptr<Work> work, Run run) {
  Running<Work>& running = all[key];
  running.work = std::move(work);
  running.thread = std::thread([this, &running, run, target = running.work.get()] {
    run(*target);
    {
      absl::MutexLock lock(&mutex_);
      running.done = true;
    }
    on_end_();
  });
}

template <typename Key, typename Work, typename Use>
void RunThreads::TakeDone(std::map<Key, Running<Work>>& all, Use use) {
  for (auto entry = all.begin(); entry != all.end();) {
    if (!entry->second.done) {
      ++entry;
      continue;
    }
    use(entry->first, *entry->second.work);
    ended_.push_back(std::move(entry->second.thread));
    entry = all.erase(entry);
  }
}

void RunThreads::StartAttempt(const std::string& uid, int slot) {
  absl::MutexLock lock(&mutex_);
  const Slot& place = job_services_.pool.slots()[static_cast<size_t>(slot)];
  Launch(attempts_, uid, std::make_unique<Attempt>(services_, uid, slot, place),
         [this, uid](Attempt& attempt) {
           RunAttempt(attempt, job_services_.pool, services_.observer, services_.clock,
                      JobName(uid));
         });
}

void RunThreads::StopAttempt(const std::string& uid, StopReason reason, absl::Duration grace) {
  absl::MutexLock lock(&mutex_);
  const auto found = attempts_.find(uid);
  if (found != attempts_.end()) found->second.work->Stop(reason, grace);
}

void RunThreads::StartProbe(int slot) {
  absl::MutexLock lock(&mutex_);
  Launch(probes_, slot, std::make_unique<absl::Status>(), [this, slot](absl::Status& verdict) {
    verdict = job_services_.pool.Probe(slot);
    services_.observer.OnProbe(job_services_.pool.slots()[static_cast<size_t>(slot)].device,
                               verdict.ok());
  });
}

void RunThreads::QueueValidation(const std::string& tenant, const std::string& name) {
  absl::MutexLock lock(&mutex_);
  const Resource resource(tenant, name);
  const bool known = validations_.count(resource) > 0 ||
                     std::count(to_validate_.begin(), to_validate_.end(), resource) > 0;
  if (!known) to_validate_.push_back(resource);
}

void RunThreads::StartValidations() {
  absl::MutexLock lock(&mutex_);
  while (!to_validate_.empty() &&
         static_cast<int>(validations_.size()) < job_services_.options.max_validations) {
    const Resource resource = std::move(to_validate_.front());
    to_validate_.pop_front();
    Launch(validations_, resource,
           std::make_unique<Validation>(job_services_, resource.first, resource.second),
           [](Validation& validation) { validation.Run(); });
  }
}

void RunThreads::StopValidations() {
  absl::MutexLock lock(&mutex_);
  for (auto& [resource, running] : validations_) running.work->Stop();
}

RunThreads::Ended RunThreads::Collect() {
  absl::MutexLock lock(&mutex_);
  Ended ended;
  TakeDone(attempts_, [&](const std::string& uid, const Attempt& attempt) {
    ended.attempts.emplace_back(uid, attempt.over());
  });
  TakeDone(probes_, [&](int slot, const absl::Status& verdict) {
    ended.probes.emplace_back(slot, verdict);
  });
  TakeDone(validations_, [](const Resource&, const Validation&) {});
  return ended;
}

void RunThreads::JoinEnded() {
  std::vector<std::thread> ended;
  {
    absl::MutexLock lock(&mutex_);
    ended.swap(ended_);
  }
  for (std::thread& thread : ended) thread.join();
}

bool RunThreads::idle() const {
  absl::MutexLock lock(&mutex_);
  return attempts_.empty() && validations_.empty() && probes_.empty();
}

}  // namespace adamant
