// SPDX-License-Identifier: Apache-2.0
#include "server/api/watch_stream.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/api/call_context.h"
#include "server/api/status.h"
#include "server/api/unary.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr absl::Duration kDefaultInterval = absl::Milliseconds(250);
constexpr absl::Duration kMinInterval = absl::Milliseconds(50);
constexpr int64_t kTerminalSearch = 32;  // the last STATE event is among the last few
constexpr size_t kCopiedBytes = 1024;    // below this a copy is cheaper than a reference

absl::Duration Interval(const v1::WatchJobRequest& request) {
  if (!request.has_min_interval()) return kDefaultInterval;
  return std::max(kMinInterval, absl::Seconds(request.min_interval().seconds()) +
                                    absl::Nanoseconds(request.min_interval().nanos()));
}

grpc::ByteBuffer ToBuffer(const std::shared_ptr<const std::string>& bytes) {
  if (bytes->size() <= kCopiedBytes) {
    grpc::Slice slice(bytes->data(), bytes->size());
    return grpc::ByteBuffer(&slice, 1);
  }
  using Owner = std::shared_ptr<const std::string>;
  grpc::Slice slice(
      const_cast<char*>(bytes->data()), bytes->size(),
      [](void* owner) { delete static_cast<Owner*>(owner); }, new Owner(bytes));
  return grpc::ByteBuffer(&slice, 1);
}

absl::Status TooManyWatchers(int limit) {
  return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                        limit, " watches are open, which is the limit; end one or try later")),
                    "QUOTA_WATCHERS", {{"limit", absl::StrCat(limit)}});
}

}  // namespace

// One watch: a cursor into the events of a job, with one write in flight and no message of its own
// beside that. Advance() decides under the lock what comes next and acts outside it, because gRPC
// may call back from within StartWrite. Thread-safe; owns itself until OnDone.
class WatchStream : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                    public std::enable_shared_from_this<WatchStream> {
 public:
  WatchStream(ServiceParts& parts, WatchStreams& streams, grpc::CallbackServerContext* context,
              const v1::WatchJobRequest& request)
      : parts_(parts),
        streams_(streams),
        call_(*context),
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
    subscription_ = parts_.hub.Subscribe(*uid, [weak = weak_from_this()] {
      if (const auto alive = weak.lock()) alive->Wake(alive);
    });
    parts_.store.GetJob(kLocalTenant, *uid, [alive = self_](absl::StatusOr<v1::Job> job) {
      alive->TakeSnapshot(std::move(job));
    });
  }

  void GoAway() {
    {
      absl::MutexLock lock(&mutex_);
      going_away_ = true;
    }
    if (const auto alive = weak_from_this().lock()) Wake(alive);
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
    if (const auto alive = weak_from_this().lock()) Wake(alive);
  }

  void OnDone() override {
    streams_.Remove(this);
    // Not on this thread: it may be inside the hub's or gRPC's own call.
    std::shared_ptr<WatchStream> last = std::move(self_);
    parts_.timers.At(absl::Now(), [last] { last->subscription_.reset(); });
  }

 private:
  enum class Step { kNothing, kWrite, kRead, kFinish };

  // Advances on the stream pool, once for many hints.
  void Wake(const std::shared_ptr<WatchStream>& alive) {
    {
      absl::MutexLock lock(&mutex_);
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

  bool Wants(v1::EventType type) const { return types_.empty() || types_.count(type) > 0; }

  void TakeSnapshot(absl::StatusOr<v1::Job> job) {
    if (!job.ok()) return EndWith(job.status());
    const int64_t last = job->last_event_seq();
    if (request_.from_seq() > 1 && request_.from_seq() > last) {
      return EndWith(
          InvalidField("from_seq", "BAD_SEQ",
                       absl::StrCat("is ", request_.from_seq(), ", beyond the last event ", last)));
    }
    if (!IsTerminal(job->state())) return Begin(*std::move(job), 0);
    // Only a job that ended long ago may have been compacted.
    const std::string uid = job->name().substr(job->name().find('/') + 1);
    parts_.hub.Read({uid, last, 1, {}}, [alive = shared_from_this(), job = *std::move(job)](
                                            absl::StatusOr<EventPage> page) mutable {
      if (!page.ok()) return alive->EndWith(page.status());
      alive->Begin(std::move(job), page->compacted_through_seq);
    });
  }

  void Begin(v1::Job job, int64_t compacted_through) {
    const int64_t last = job.last_event_seq();
    const int64_t from = request_.from_seq() == 0 ? last : request_.from_seq();
    const int64_t cursor = request_.from_seq() == 1 ? 0 : from;
    if (cursor < compacted_through && Wants(v1::METRIC)) {
      return EndWith(WithReason(
          absl::OutOfRangeError(absl::StrCat(
              "the metrics up to event ", compacted_through,
              " were compacted; watch from the snapshot or without METRIC, and read them with "
              "ListMetricPoints")),
          "EVENTS_COMPACTED", {{"compacted_through_seq", absl::StrCat(compacted_through)}}));
    }
    parts_.scheduler.Decorate(job);
    v1::JobEvent snapshot;
    snapshot.set_type(v1::SNAPSHOT);
    snapshot.set_attempt(job.attempt());
    snapshot.set_compacted_through_seq(compacted_through);
    *snapshot.mutable_time() = ToProto(absl::Now());
    {
      absl::MutexLock lock(&mutex_);
      known_last_ = last;
      cursor_ = cursor;
      log_cursor_ = job.log_bytes();
      if (IsTerminal(job.state()) && cursor >= last) {  // the terminal event is sent again
        only_terminal_ = true;
        cursor_ = std::max<int64_t>(0, last - kTerminalSearch);
      }
      *snapshot.mutable_snapshot() = std::move(job);
      own_ = ShareEvent(snapshot);
      ready_ = true;
    }
    if (const auto alive = weak_from_this().lock()) Wake(alive);
  }

  void TakeBatch(absl::StatusOr<std::shared_ptr<const EventBatch>> batch) {
    {
      absl::MutexLock lock(&mutex_);
      reading_ = false;
      if (!batch.ok()) {
        end_ = batch.status();
      } else if ((*batch)->events.empty()) {
        // What was there has been compacted.
        cursor_ = std::max({cursor_, known_last_, subscription_->ring().first_seq() - 1});
      } else {
        batch_ = *std::move(batch);
        batch_index_ = 0;
      }
    }
    if (const auto alive = weak_from_this().lock()) Wake(alive);
  }

  // A message that only this watcher gets.
  void SayOwn(v1::EventType type, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    v1::JobEvent event;
    event.set_type(type);
    event.set_seq(only_terminal_ ? known_last_ : cursor_);
    *event.mutable_time() = ToProto(now);
    own_ = ShareEvent(event);
  }

  bool Wanted(const SharedEvent& event) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return event.terminal || (Wants(event.type) && !only_terminal_);
  }

  // The durable event behind the cursor.
  EventRing::Found NextDurable(SharedEvent& event) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (batch_ != nullptr && batch_index_ < batch_->events.size()) {
      event = batch_->events[batch_index_];
      return EventRing::Found::kEvent;
    }
    const EventRing& ring = subscription_->ring();
    const EventRing::Found found = ring.Next(cursor_, event);
    const bool nothing_known = ring.first_seq() == 0 && cursor_ >= known_last_;
    return found == EventRing::Found::kOlder && nothing_known ? EventRing::Found::kNothing : found;
  }

  void PassDurable(const SharedEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    cursor_ = event.seq;
    const int64_t last = std::max(known_last_, subscription_->ring().last_seq());
    parts_.metrics.WatchLag(std::max<int64_t>(0, last - event.seq));
    if (batch_ == nullptr) return;
    if (++batch_index_ >= batch_->events.size()) batch_.reset();
  }

  // The next wanted durable event, if it is at hand. `older`: the store has to be asked.
  std::optional<SharedEvent> TakeDurable(bool& older) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    SharedEvent event;
    while (true) {
      const EventRing::Found found = NextDurable(event);
      older = found == EventRing::Found::kOlder;
      if (found != EventRing::Found::kEvent) return std::nullopt;
      PassDurable(event);
      if (Wanted(event)) return event;
    }
  }

  std::optional<SharedEvent> TakeProgress(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!Wants(v1::PROGRESS) || only_terminal_) return std::nullopt;
    const std::optional<EventRing::Progress> progress = subscription_->ring().LatestProgress();
    if (!progress.has_value() || progress->version == progress_version_) return std::nullopt;
    if (now < next_progress_) {
      wake_at_ = std::min(wake_at_, next_progress_);
      return std::nullopt;
    }
    progress_version_ = progress->version;
    next_progress_ = now + interval_;
    return progress->event;
  }

  // Log bytes come before events, so that none is behind the terminal one.
  std::optional<SharedEvent> TakeNext(absl::Time now, bool& older)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    older = false;
    if (own_.has_value()) return std::exchange(own_, std::nullopt);
    if (Wants(v1::LOG) && !only_terminal_) {
      if (auto log = subscription_->ring().NextLog(log_cursor_)) return log;
    }
    if (auto event = TakeDurable(older); event.has_value() || older) return event;
    if (auto progress = TakeProgress(now)) return progress;
    if (!going_away_ && now - last_write_ >= parts_.limits.bookmark_after) {
      SayOwn(v1::BOOKMARK, now);
      return std::exchange(own_, std::nullopt);
    }
    return std::nullopt;
  }

  // Whether another message certainly follows at once: then gRPC may hold this one back and send
  // both together.
  bool MoreAtHand() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    SharedEvent next;
    return NextDurable(next) == EventRing::Found::kEvent && Wanted(next);
  }

  // What to do now. At most one step is taken at a time: a write until OnWriteDone, a finish once.
  Step Decide(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_) return Step::kNothing;
    if (writing_) return CheckSlow(now);
    if (broken_ || !end_.ok()) return Finish(end_.ok() ? absl::CancelledError() : end_);
    if (!ready_ || reading_) return Step::kNothing;
    if (terminal_sent_ && request_.until() != v1::WatchJobRequest::UNTIL_FOREVER)
      return Finish(absl::OkStatus());
    if (now - started_ >= parts_.limits.stream_max_age) {
      return Finish(WithReason(absl::UnavailableError("the watch is too old; resume"),
                               "STREAM_MAX_AGE", {{"last_seq", absl::StrCat(cursor_)}}));
    }
    if (said_goodbye_) return Finish(DrainingStatus());
    bool older = false;
    std::optional<SharedEvent> next = TakeNext(now, older);
    if (older) {
      reading_ = true;
      return Step::kRead;
    }
    if (!next.has_value() && subscription_->gone())
      return Finish(ResourceNotFound("job", request_.name()));
    if (!next.has_value() && going_away_) {
      SayOwn(v1::GOING_AWAY, now);
      next = std::exchange(own_, std::nullopt);
      said_goodbye_ = true;
    }
    if (!next.has_value()) {
      wake_at_ = std::min({wake_at_, last_write_ + parts_.limits.bookmark_after,
                           started_ + parts_.limits.stream_max_age});
      return Step::kNothing;
    }
    terminal_sent_ = terminal_sent_ || next->terminal;
    message_ = ToBuffer(next->bytes);
    hold_back_ = !next->terminal && MoreAtHand();
    writing_ = true;
    write_started_ = last_write_ = now;
    wake_at_ = now + parts_.limits.slow_after;
    return Step::kWrite;
  }

  // A write that hangs is the watcher's fault. Finish would wait behind it, so the call is cut.
  Step CheckSlow(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    wake_at_ = write_started_ + parts_.limits.slow_after;
    if (now < wake_at_) return Step::kNothing;
    wake_at_ = absl::InfiniteFuture();
    if (!end_.ok()) return Step::kNothing;
    end_ = WithReason(absl::ResourceExhaustedError(absl::StrCat(
                          "SLOW_CONSUMER: the watcher does not read; resume from event ", cursor_)),
                      "SLOW_CONSUMER", {{"last_seq", absl::StrCat(cursor_)}});
    parts_.timers.At(now,
                     [alive = shared_from_this(), status = end_] { alive->call_.Cancel(status); });
    return Step::kNothing;
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
        return hold_back_ ? StartWrite(&message_, grpc::WriteOptions().set_buffer_hint())
                          : StartWrite(&message_);
      case Step::kRead:
        return subscription_->ReadOlder(
            after, [alive](absl::StatusOr<std::shared_ptr<const EventBatch>> batch) {
              alive->TakeBatch(std::move(batch));
            });
      case Step::kFinish:
        return grpc::ServerWriteReactor<grpc::ByteBuffer>::Finish(ToGrpc(end));
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
  const CallHandle call_;
  const v1::WatchJobRequest request_;
  const std::set<int> types_;
  const absl::Duration interval_;
  const absl::Time started_;
  std::unique_ptr<EventHub::Subscription> subscription_;  // set once in Start
  std::shared_ptr<WatchStream> self_;                     // from Start to OnDone
  // Owned by the write in flight.
  grpc::ByteBuffer message_;
  bool hold_back_ = false;

  absl::Mutex mutex_;
  std::optional<SharedEvent> own_ ABSL_GUARDED_BY(mutex_);  // to be sent first
  std::shared_ptr<const EventBatch> batch_ ABSL_GUARDED_BY(mutex_);
  size_t batch_index_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t known_last_ ABSL_GUARDED_BY(mutex_) = 0;  // last_event_seq of the snapshot
  int64_t cursor_ ABSL_GUARDED_BY(mutex_) = 0;      // the last event that was sent or left out
  int64_t log_cursor_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t progress_version_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;  // the snapshot is there
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

absl::Status WatchStreams::Admit() const {
  const int open = static_cast<int>(open_.size());
  const ApiLimits& limits = parts_.limits;
  if (open >= limits.max_watchers) return TooManyWatchers(limits.max_watchers);
  // The local tenant is the only one.
  if (open >= limits.max_watchers_per_tenant)
    return TooManyWatchers(limits.max_watchers_per_tenant);
  return absl::OkStatus();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchStreams::Open(grpc::CallbackServerContext* context,
                                                               const v1::WatchJobRequest& request) {
  const auto stream = std::make_shared<WatchStream>(parts_, *this, context, request);
  bool going_away;
  {
    absl::MutexLock lock(&mutex_);
    if (absl::Status refused = Admit(); !refused.ok())
      return new FailedWriteStream<grpc::ByteBuffer>(refused);
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
