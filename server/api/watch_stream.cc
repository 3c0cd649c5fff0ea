// SPDX-License-Identifier: Apache-2.0
#include "server/api/watch_stream.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/api/status.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr absl::Duration kBookmarkAfter = absl::Seconds(15);
constexpr absl::Duration kMaxAge = absl::Hours(1);
constexpr absl::Duration kSlowAfter = absl::Seconds(30);
constexpr absl::Duration kDefaultInterval = absl::Milliseconds(250);
constexpr absl::Duration kMinInterval = absl::Milliseconds(50);
constexpr int kReadLimit = 64;
constexpr int64_t kTerminalSearch = 32;  // the last STATE event is among the last few

absl::Duration Interval(const v1::WatchJobRequest& request) {
  if (!request.has_min_interval()) return kDefaultInterval;
  return std::max(kMinInterval, absl::Seconds(request.min_interval().seconds()) +
                                    absl::Nanoseconds(request.min_interval().nanos()));
}

}  // namespace

// One watch: a cursor into the event log of a job, with one write in flight. Advance() decides
// under the lock what comes next and acts outside it, because gRPC may call back from within
// StartWrite. Thread-safe; owns itself until OnDone.
class WatchStream : public grpc::ServerWriteReactor<v1::JobEvent>,
                    public std::enable_shared_from_this<WatchStream> {
 public:
  WatchStream(ServiceParts& parts, WatchStreams& streams, grpc::CallbackServerContext* context,
              const v1::WatchJobRequest& request)
      : parts_(parts),
        streams_(streams),
        context_(context),
        request_(request),
        types_(request.types().begin(), request.types().end()),
        interval_(Interval(request)),
        started_(absl::Now()) {}

  void Start() {
    self_ = shared_from_this();
    absl::StatusOr<std::string> uid = JobUid(request_.name());
    if (!uid.ok()) return EndWith(uid.status());
    if (request_.from_seq() < 0)
      return EndWith(InvalidField("from_seq", "BAD_SEQ", "must not be negative"));
    if (types_.count(v1::LOG) > 0) {
      return EndWith(InvalidField("types", "INVALID_SPEC",
                                  "LOG is not served by this release; follow ReadLog"));
    }
    uid_ = *std::move(uid);
    subscription_ = parts_.hub.Subscribe(uid_, [weak = weak_from_this(), this] {
      if (auto alive = weak.lock()) Wake(alive);
    });
    parts_.store.GetJob(kLocalTenant, uid_, [alive = self_](absl::StatusOr<v1::Job> job) {
      alive->TakeSnapshot(std::move(job));
    });
  }

  void GoAway() {
    {
      absl::MutexLock lock(&mutex_);
      going_away_ = true;
    }
    if (auto alive = weak_from_this().lock()) Wake(alive);
  }

  void OnWriteDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      if (!ok) broken_ = true;
    }
    Advance();
  }

  void OnCancel() override {
    {
      absl::MutexLock lock(&mutex_);
      broken_ = true;
    }
    if (auto alive = weak_from_this().lock()) Wake(alive);
  }

  void OnDone() override {
    streams_.Remove(this);
    // Not on this thread: it may be inside the hub's or gRPC's own call.
    std::shared_ptr<WatchStream> last = std::move(self_);
    parts_.timers.At(absl::Now(), [last] { last->subscription_.reset(); });
  }

 private:
  enum class Step { kNothing, kWrite, kRead, kFinish };

  // Advances on the stream pool, once for many hints; with `news` the event log is read again.
  void Wake(const std::shared_ptr<WatchStream>& alive, bool news = true) {
    {
      absl::MutexLock lock(&mutex_);
      news_ = news_ || news;
      if (woken_ || finished_) return;
      woken_ = true;
    }
    const bool taken = parts_.streams.Run([alive] {
      {
        absl::MutexLock lock(&alive->mutex_);
        alive->woken_ = false;
      }
      alive->Advance();
    });
    if (!taken) {
      absl::MutexLock lock(&mutex_);
      woken_ = false;  // the next timer tick looks again
    }
  }

  void EndWith(absl::Status status) {
    {
      absl::MutexLock lock(&mutex_);
      end_ = std::move(status);
    }
    Advance();
  }

  void TakeSnapshot(absl::StatusOr<v1::Job> job) {
    if (!job.ok()) return EndWith(job.status());
    const int64_t last = job->last_event_seq();
    if (request_.from_seq() > 1 && request_.from_seq() > last) {
      return EndWith(
          InvalidField("from_seq", "BAD_SEQ",
                       absl::StrCat("is ", request_.from_seq(), ", beyond the last event ", last)));
    }
    parts_.scheduler.Decorate(*job);
    {
      absl::MutexLock lock(&mutex_);
      const bool ended = IsTerminal(job->state());
      cursor_ = request_.from_seq() == 0   ? last
                : request_.from_seq() == 1 ? 0
                                           : request_.from_seq();
      if (ended && cursor_ >= last) {  // the terminal event is sent again
        only_terminal_ = true;
        cursor_ = std::max<int64_t>(0, last - kTerminalSearch);
      }
      v1::JobEvent snapshot;
      snapshot.set_type(v1::SNAPSHOT);
      snapshot.set_attempt(job->attempt());
      *snapshot.mutable_time() = ToProto(absl::Now());
      *snapshot.mutable_snapshot() = *std::move(job);
      pending_.push_back(std::move(snapshot));
      ready_ = true;
      news_ = true;
    }
    if (auto alive = weak_from_this().lock()) Wake(alive);
  }

  void TakeEvents(absl::StatusOr<std::vector<v1::JobEvent>> events) {
    {
      absl::MutexLock lock(&mutex_);
      reading_ = false;
      if (!events.ok()) {
        end_ = events.status();
      } else {
        if (!events->empty()) news_ = true;  // there may be more behind them
        for (v1::JobEvent& event : *events) {
          cursor_ = std::max(cursor_, event.seq());
          const bool wanted = (types_.empty() || types_.count(event.type()) > 0) && !only_terminal_;
          if (wanted || event.terminal()) pending_.push_back(std::move(event));
        }
      }
    }
    if (auto alive = weak_from_this().lock()) Wake(alive, /*news=*/false);
  }

  bool Wants(v1::EventType type) const { return types_.empty() || types_.count(type) > 0; }

  void Bookmark(v1::EventType type, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    v1::JobEvent event;
    event.set_type(type);
    event.set_seq(sent_seq_);
    *event.mutable_time() = ToProto(now);
    pending_.push_back(std::move(event));
  }

  bool QueueProgress(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!Wants(v1::PROGRESS) || only_terminal_) return false;
    const std::optional<EventHub::LiveProgress> progress = parts_.hub.Progress(uid_);
    if (!progress.has_value() || progress->version == progress_version_) return false;
    if (now < next_progress_) {
      wake_at_ = std::min(wake_at_, next_progress_);
      return false;
    }
    progress_version_ = progress->version;
    next_progress_ = now + interval_;
    pending_.push_back(progress->event);
    return true;
  }

  // What to do now. At most one step is taken at a time: a write until OnWriteDone, a finish once.
  Step Decide(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_) return Step::kNothing;
    if (writing_) {
      if (now - write_started_ >= kSlowAfter && end_.ok()) {
        end_ = WithReason(absl::ResourceExhaustedError("the watcher does not read; resume"),
                          "SLOW_CONSUMER", {{"last_seq", absl::StrCat(sent_seq_)}});
        context_->TryCancel();
      }
      wake_at_ = write_started_ + kSlowAfter;
      return Step::kNothing;
    }
    if (broken_ || !end_.ok()) return Finish(broken_ && end_.ok() ? absl::CancelledError() : end_);
    if (!ready_) return Step::kNothing;
    if (now - started_ >= kMaxAge) {
      return Finish(WithReason(absl::UnavailableError("the watch is an hour old; resume"),
                               "STREAM_MAX_AGE", {{"last_seq", absl::StrCat(sent_seq_)}}));
    }
    if (terminal_sent_ && request_.until() != v1::WatchJobRequest::UNTIL_FOREVER)
      return Finish(absl::OkStatus());
    if (going_away_ && said_goodbye_) return Finish(DrainingStatus());
    if (pending_.empty() && going_away_) {
      Bookmark(v1::GOING_AWAY, now);
      said_goodbye_ = true;
    }
    if (pending_.empty() && news_ && !reading_) {
      news_ = false;
      reading_ = true;
      return Step::kRead;
    }
    if (pending_.empty() && !reading_) QueueProgress(now);
    if (pending_.empty() && now - last_write_ >= kBookmarkAfter) Bookmark(v1::BOOKMARK, now);
    if (pending_.empty()) {
      wake_at_ = std::min({wake_at_, last_write_ + kBookmarkAfter, started_ + kMaxAge});
      return Step::kNothing;
    }
    message_ = std::move(pending_.front());
    pending_.pop_front();
    sent_seq_ = std::max(sent_seq_, message_.seq());
    terminal_sent_ = terminal_sent_ || message_.terminal();
    writing_ = true;
    write_started_ = last_write_ = now;
    wake_at_ = now + kSlowAfter;
    return Step::kWrite;
  }

  Step Finish(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    finished_ = true;
    end_ = std::move(status);
    return Step::kFinish;
  }

  void Advance() {
    const std::shared_ptr<WatchStream> alive = weak_from_this().lock();
    if (alive == nullptr) return;
    Step step;
    int64_t after = 0;
    absl::Status end;
    {
      absl::MutexLock lock(&mutex_);
      wake_at_ = absl::InfiniteFuture();
      step = Decide(absl::Now());
      after = cursor_;
      if (step == Step::kFinish) end = end_;
      ArmTimer(alive);
    }
    switch (step) {
      case Step::kWrite:
        parts_.metrics.EventsSent(1);
        return StartWrite(&message_);
      case Step::kRead:
        return parts_.hub.Read({uid_, after, kReadLimit, {}},
                               [alive](absl::StatusOr<EventPage> page) {
                                 if (!page.ok()) return alive->TakeEvents(page.status());
                                 alive->TakeEvents(std::move(page->events));
                               });
      case Step::kFinish:
        return grpc::ServerWriteReactor<v1::JobEvent>::Finish(ToGrpc(end));
      case Step::kNothing:
        return;
    }
  }

  void ArmTimer(const std::shared_ptr<WatchStream>& alive) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_ || wake_at_ >= armed_) return;
    armed_ = wake_at_;
    parts_.timers.At(armed_, [weak = std::weak_ptr<WatchStream>(alive), time = armed_] {
      const std::shared_ptr<WatchStream> stream = weak.lock();
      if (stream == nullptr) return;
      {
        absl::MutexLock lock(&stream->mutex_);
        if (stream->armed_ == time) stream->armed_ = absl::InfiniteFuture();
      }
      stream->Wake(stream);
    });
  }

  ServiceParts& parts_;
  WatchStreams& streams_;
  grpc::CallbackServerContext* const context_;
  const v1::WatchJobRequest request_;
  const std::set<int> types_;
  const absl::Duration interval_;
  const absl::Time started_;
  std::string uid_;                                       // set once in Start
  std::unique_ptr<EventHub::Subscription> subscription_;  // set once in Start
  std::shared_ptr<WatchStream> self_;                     // from Start to OnDone
  v1::JobEvent message_;                                  // owned by the write in flight

  absl::Mutex mutex_;
  std::deque<v1::JobEvent> pending_ ABSL_GUARDED_BY(mutex_);  // at most one read's worth
  int64_t cursor_ ABSL_GUARDED_BY(mutex_) = 0;                // last seq read from the log
  int64_t sent_seq_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t progress_version_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;  // the snapshot is there
  bool news_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // the client is gone
  bool going_away_ ABSL_GUARDED_BY(mutex_) = false;
  bool said_goodbye_ ABSL_GUARDED_BY(mutex_) = false;
  bool only_terminal_ ABSL_GUARDED_BY(mutex_) = false;
  bool terminal_sent_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
  absl::Time last_write_ ABSL_GUARDED_BY(mutex_) = absl::Now();
  absl::Time write_started_ ABSL_GUARDED_BY(mutex_);
  absl::Time next_progress_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  absl::Time wake_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  absl::Time armed_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
};

grpc::ServerWriteReactor<v1::JobEvent>* WatchStreams::Open(grpc::CallbackServerContext* context,
                                                           const v1::WatchJobRequest& request) {
  const auto stream = std::make_shared<WatchStream>(parts_, *this, context, request);
  bool going_away;
  {
    absl::MutexLock lock(&mutex_);
    open_.insert(stream.get());
    going_away = going_away_;
  }
  WatchStream* const reactor = stream.get();
  stream->Start();
  if (going_away) stream->GoAway();
  return reactor;
}

void WatchStreams::GoAway() {
  absl::MutexLock lock(&mutex_);
  going_away_ = true;
  for (WatchStream* stream : open_) stream->GoAway();
}

void WatchStreams::Remove(WatchStream* stream) {
  absl::MutexLock lock(&mutex_);
  open_.erase(stream);
}

}  // namespace adamant
