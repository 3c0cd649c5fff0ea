// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/load.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "common/sha256.h"
#include "tests/support/workers/hash_chain.h"

namespace adamant::testing {
namespace {

constexpr absl::Duration kPause = absl::Milliseconds(10);  // between the steps of one client
constexpr int kTries = 200;                                // of one operation, over restarts

int Below(std::mt19937_64& random, int limit) {
  return static_cast<int>(random() % static_cast<uint64_t>(limit));
}

bool HasEnded(const v1::Job& job) {
  return job.state() == v1::SUCCEEDED || job.state() == v1::FAILED || job.state() == v1::CANCELLED;
}

}  // namespace

Load::Load(const std::string& address, History& history, const LoadOptions& options)
    : api_(address), bulk_(address), history_(history), options_(options) {
  Spawn(1, &Load::Submit);
  Spawn(2, &Load::Submit);
  Spawn(3, &Load::Read);
  Spawn(4, &Load::Watch);
  Spawn(5, &Load::Watch);
  Spawn(6, &Load::WatchSlowly);
  if (options.verbs) Spawn(7, &Load::Verbs);
  if (options.uploads) Spawn(8, &Load::Upload);
}

Load::~Load() { Stop(); }

void Load::Stop() {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Load::Spawn(uint64_t number, void (Load::*step)(Random&)) {
  threads_.emplace_back([this, number, step] {
    Random random(options_.seed * 1000 + number);
    while (!stopping_) {
      (this->*step)(random);
      absl::SleepFor(kPause);
    }
  });
}

std::string Load::Pick(Random& random, bool live_only) const {
  absl::MutexLock lock(&mutex_);
  if (live_only && !live_.empty()) {
    auto found = live_.begin();
    std::advance(found, Below(random, static_cast<int>(live_.size())));
    return *found;
  }
  return jobs_.empty() ? "" : jobs_[random() % jobs_.size()];
}

size_t Load::live() const {
  absl::MutexLock lock(&mutex_);
  return live_.size();
}

void Load::Ended(const std::string& job) {
  absl::MutexLock lock(&mutex_);
  live_.erase(job);
}

// Tries until it is acknowledged, then sometimes once more: that must be the same job.
void Load::Submit(Random& random) {
  if (live() >= options_.max_live) return;
  ChainRequest request{.request_id = NewUuid(), .seed = kChainSeed + random() % 1000000};
  request.steps = 3 + Below(random, 8);
  request.step_milliseconds = Below(random, options_.max_step_milliseconds + 1);
  request.every_steps = 1 + Below(random, 4);
  request.start_paused = options_.verbs && Below(random, 16) == 0;
  history_.Add({.op = "asked", .request_id = request.request_id});
  int wanted = 1 + (Below(random, 4) == 0 ? 1 : 0);
  for (int i = 0; i < kTries && wanted > 0 && !stopping_; ++i) {
    const auto job = api_.Submit(request);
    if (!job.ok()) {
      absl::SleepFor(kPause);
      continue;
    }
    --wanted;
    ++submits_;
    history_.Add({.op = "submit", .request_id = request.request_id, .job = job->name()});
    absl::MutexLock lock(&mutex_);
    if (std::find(jobs_.begin(), jobs_.end(), job->name()) != jobs_.end()) continue;
    jobs_.push_back(job->name());
    live_.insert(job->name());
  }
}

void Load::Verbs(Random& random) {
  const std::string job = Pick(random, Below(random, 4) != 0);
  if (job.empty()) return;
  const int choice = Below(random, 12);
  if (choice == 0) {
    history_.Add({.op = "delete", .job = job});  // a live one is refused
    if (api_.Delete(job).ok()) Ended(job);
    return;
  }
  const Verb verb = choice < 4 ? Verb::kCancel : choice < 7 ? Verb::kPause : Verb::kResume;
  const auto answer = api_.Ask(verb, job);
  if (!answer.ok()) return;
  const char* names[] = {"cancel", "pause", "resume"};
  history_.Add({.op = names[static_cast<int>(verb)],
                .job = job,
                .state = v1::JobState_Name(answer->state())});
}

void Load::Read(Random& random) {
  const std::string name = Pick(random, true);
  if (name.empty()) return;
  const auto job = api_.Get(name);
  if (absl::IsNotFound(job.status())) Ended(name);  // deleted; the oracle asks itself
  if (!job.ok()) return;
  history_.Add(SeenEntry(*job));
  if (HasEnded(*job)) Ended(name);
  const auto log = api_.ReadLog(name, 0);
  if (!log.ok() || log->empty()) return;
  history_.Add({.op = "log",
                .job = name,
                .digest = Sha256Hex(*log),
                .seq = 0,
                .size = static_cast<int64_t>(log->size())});
}

// Follows one job to its end, over broken streams, from the last event that it saw.
void Load::WatchOne(Random& random, absl::Duration pause) {
  const std::string job = Pick(random, true);
  if (job.empty()) return;
  const std::string watch = NewUuid();
  int64_t seen = 0;
  bool terminal = false;
  for (int i = 0; i < kTries && !terminal && !stopping_; ++i) {
    const absl::Status status =
        api_.Watch(job, std::max<int64_t>(seen, 1), [&](const v1::JobEvent& event) {
          const bool durable = event.type() == v1::STATE || event.type() == v1::CHECKPOINT ||
                               event.type() == v1::ARTIFACT || event.type() == v1::WARNING ||
                               event.type() == v1::METRIC;
          // from_seq = 1 means everything, and the last event is told to whoever asks after it.
          const bool again = event.seq() <= seen && (event.terminal() || seen == 1);
          terminal = terminal || event.terminal();
          if (!durable || again) return !stopping_;
          history_.Add({.op = "event",
                        .job = job,
                        .watch = watch,
                        .digest = EventDigest(event),
                        .seq = event.seq()});
          seen = event.seq();
          absl::SleepFor(pause);
          return !stopping_;
        });
    if (status.ok()) {
      history_.Add({.op = "ended", .job = job, .watch = watch});  // also without a terminal event
      if (terminal) Ended(job);
      return;
    }
    if (absl::IsNotFound(status)) return Ended(job);
    absl::SleepFor(kPause);
  }
}

void Load::Upload(Random& random) {
  std::string bytes(static_cast<size_t>(1 + Below(random, 400 << 10)), '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  const v1::BlobRef blob = RefOf(bytes);
  std::string upload = NewUpload(blob);
  for (int i = 0; i < kTries && !stopping_; ++i) {
    const auto committed = bulk_.Committed(upload);
    if (!committed.ok() && !absl::IsNotFound(committed.status())) {
      absl::SleepFor(kPause);
      continue;
    }
    const auto written = bulk_.Write(upload, bytes, committed.ok() ? *committed : 0);
    if (!written.ok()) {
      absl::SleepFor(kPause);
      continue;
    }
    if (*written == blob.size_bytes())
      history_.Add({.op = "upload", .digest = blob.sha256(), .size = blob.size_bytes()});
    absl::SleepFor(absl::Milliseconds(100));
    return;
  }
}

}  // namespace adamant::testing
