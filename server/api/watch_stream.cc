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
#include "server/api/watch_cursor.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr size_t kCopiedBytes = 1024;  // below this a copy is cheaper than a reference

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
        started_(absl::Now()),
        cursor_(request) {}

  void Start() {
    self_ = shared_from_this();
    absl::StatusOr<std::string> uid = JobUid(request_.name());
    if (!uid.ok()) return EndWith(uid.status());
    subscription_ = parts_.hub.Subscribe(*uid, [weak = weak_from_this()] {
      if (const auto alive = weak.lock()) alive->Wake(alive);
    });
    parts_.store.GetJob(kLocalTenant, *uid, [alive = self_](absl::StatusOr<v1::Job> job) {
      alive->TakeSnapshot(std::move(job));
    });
  }

  void OnWriteDone(bool ok) override { Advance(ok); }

  void OnCancel() override {
    {
      absl::MutexLock lock(&mutex_);
      broken_ = true;
    }
    if (const auto alive = weak_from_this().lock()) Wake(alive);
  }

  void OnDone() override {
    streams_.Remove();
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

  void TakeSnapshot(absl::StatusOr<v1::Job> job) {
    if (!job.ok()) return EndWith(job.status());
    if (!IsTerminal(job->state())) return Begin(*std::move(job), 0);
    // Only a job that ended long ago may have been compacted.
    const std::string uid = job->name().substr(job->name().find('/') + 1);
    const int64_t last = job->last_event_seq();
    parts_.hub.Read({uid, last, 1, {}}, [alive = shared_from_this(), job = *std::move(job)](
                                            absl::StatusOr<EventPage> page) mutable {
      if (!page.ok()) return alive->EndWith(page.status());
      alive->Begin(std::move(job), page->compacted_through_seq);
    });
  }

  void Begin(v1::Job job, int64_t compacted_through) {
    parts_.scheduler.Decorate(job);
    {
      absl::MutexLock lock(&mutex_);
      end_ = cursor_.Begin(std::move(job), compacted_through, absl::Now(), *subscription_);
      ready_ = true;
    }
    if (const auto alive = weak_from_this().lock()) Wake(alive);
  }

  void TakeBatch(absl::StatusOr<std::shared_ptr<const EventBatch>> batch) {
    {
      absl::MutexLock lock(&mutex_);
      reading_ = false;
      if (batch.ok())
        cursor_.Add(*std::move(batch));
      else
        end_ = batch.status();
    }
    if (const auto alive = weak_from_this().lock()) Wake(alive);
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
                               "STREAM_MAX_AGE", {{"last_seq", absl::StrCat(cursor_.seq())}}));
    }
    if (said_goodbye_) return Finish(DrainingStatus());
    WatchCursor::Next next = cursor_.Take(now);
    if (next.needs_store) {
      reading_ = true;
      return Step::kRead;
    }
    if (next.event.has_value()) return Write(*next.event, now);
    if (subscription_->gone()) return Finish(ResourceNotFound("job", request_.name()));
    if (parts_.hub.going_away()) {
      said_goodbye_ = true;
      return Write(cursor_.Mark(v1::GOING_AWAY, now), now);
    }
    if (now - last_write_ >= parts_.limits.bookmark_after)
      return Write(cursor_.Mark(v1::BOOKMARK, now), now);
    wake_at_ = std::min({wake_at_, next.progress_at, last_write_ + parts_.limits.bookmark_after,
                         started_ + parts_.limits.stream_max_age});
    return Step::kNothing;
  }

  Step Write(const SharedEvent& event, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    terminal_sent_ = terminal_sent_ || event.terminal;
    message_ = ToBuffer(event.bytes);
    // Then another message certainly follows at once, and gRPC may send both together.
    hold_back_ = !event.terminal && !said_goodbye_ && cursor_.HasMore();
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
    end_ = WithReason(
        absl::ResourceExhaustedError(absl::StrCat(
            "SLOW_CONSUMER: the watcher does not read; resume from event ", cursor_.seq())),
        "SLOW_CONSUMER", {{"last_seq", absl::StrCat(cursor_.seq())}});
    parts_.timers.At(now,
                     [alive = shared_from_this(), status = end_] { alive->call_.Cancel(status); });
    return Step::kNothing;
  }

  Step Finish(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    finished_ = true;
    end_ = std::move(status);
    return Step::kFinish;
  }

  // `written`: how a write ended, if one did.
  void Advance(std::optional<bool> written = std::nullopt) {
    const std::shared_ptr<WatchStream> alive = weak_from_this().lock();
    if (alive == nullptr) return;
    Step step;
    int64_t after = 0;
    absl::Status end;
    {
      absl::MutexLock lock(&mutex_);
      if (written.has_value()) {
        writing_ = false;
        broken_ = broken_ || !*written;
      }
      wake_at_ = absl::InfiniteFuture();
      step = Decide(absl::Now());
      after = cursor_.seq();
      if (step == Step::kWrite) parts_.metrics.WatchLag(cursor_.lag());
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
  const absl::Time started_;
  std::unique_ptr<EventHub::Subscription> subscription_;  // set once in Start
  std::shared_ptr<WatchStream> self_;                     // from Start to OnDone
  // Owned by the write in flight.
  grpc::ByteBuffer message_;
  bool hold_back_ = false;

  absl::Mutex mutex_;
  WatchCursor cursor_ ABSL_GUARDED_BY(mutex_);
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;  // the snapshot is there
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // the client is gone
  bool said_goodbye_ ABSL_GUARDED_BY(mutex_) = false;
  bool terminal_sent_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
  absl::Time last_write_ ABSL_GUARDED_BY(mutex_) = absl::Now();
  absl::Time write_started_ ABSL_GUARDED_BY(mutex_);
  absl::Time wake_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  absl::Time armed_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
};

absl::Status WatchStreams::Admit() const {
  const ApiLimits& limits = parts_.limits;
  if (open_ >= limits.max_watchers) return TooManyWatchers(limits.max_watchers);
  // The local tenant is the only one.
  if (open_ >= limits.max_watchers_per_tenant)
    return TooManyWatchers(limits.max_watchers_per_tenant);
  return absl::OkStatus();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchStreams::Open(grpc::CallbackServerContext* context,
                                                               const v1::WatchJobRequest& request) {
  const auto stream = std::make_shared<WatchStream>(parts_, *this, context, request);
  {
    absl::MutexLock lock(&mutex_);
    if (absl::Status refused = Admit(); !refused.ok())
      return new FailedWriteStream<grpc::ByteBuffer>(refused);
    ++open_;
  }
  WatchStream* const reactor = stream.get();
  stream->Start();
  return reactor;
}

void WatchStreams::Remove() {
  absl::MutexLock lock(&mutex_);
  --open_;
}

}  // namespace adamant
