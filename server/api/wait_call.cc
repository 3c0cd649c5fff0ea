// SPDX-License-Identifier: Apache-2.0
#include "server/api/wait_call.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "server/api/status.h"
#include "server/jobs/job.h"

namespace adamant {
namespace {

constexpr absl::Duration kDefaultTimeout = absl::Seconds(30);
constexpr absl::Duration kMaxTimeout = absl::Seconds(300);

absl::Duration Timeout(const v1::WaitJobRequest& request) {
  if (!request.has_timeout()) return kDefaultTimeout;
  return std::clamp(
      absl::Seconds(request.timeout().seconds()) + absl::Nanoseconds(request.timeout().nanos()),
      absl::ZeroDuration(), kMaxTimeout);
}

// Looks at the job at every hint of the hub and once at the deadline. Thread-safe.
class WaitCall : public grpc::ServerUnaryReactor, public std::enable_shared_from_this<WaitCall> {
 public:
  WaitCall(ServiceParts& parts, v1::Job* response) : parts_(parts), response_(response) {}

  void Start(const v1::WaitJobRequest& request) {
    self_ = shared_from_this();
    absl::StatusOr<std::string> uid = JobUid(request.name());
    if (!uid.ok()) return End(uid.status());
    uid_ = *std::move(uid);
    deadline_ = absl::Now() + Timeout(request);
    const std::weak_ptr<WaitCall> weak = self_;
    const auto look = [weak] {
      if (const auto alive = weak.lock()) alive->Post();
    };
    subscription_ = parts_.hub.Subscribe(uid_, look);
    parts_.timers.At(deadline_, look);
    Look();
  }

  void OnCancel() override { End(absl::CancelledError("the caller has gone")); }

  void OnDone() override {
    std::shared_ptr<WaitCall> last = std::move(self_);
    parts_.timers.At(absl::Now(), [last] { last->subscription_.reset(); });
  }

 private:
  void Post() {
    {
      absl::MutexLock lock(&mutex_);
      if (posted_ || ended_) return;
      posted_ = true;
    }
    const bool taken = parts_.streams.Run([alive = shared_from_this()] {
      {
        absl::MutexLock lock(&alive->mutex_);
        alive->posted_ = false;
      }
      alive->Look();
    });
    if (!taken) End(OverloadedStatus());
  }

  void Look() {
    const bool last_look = absl::Now() >= deadline_;
    parts_.store.GetJob(kLocalTenant, uid_,
                        [alive = shared_from_this(), last_look](absl::StatusOr<v1::Job> job) {
                          if (!job.ok()) return alive->End(job.status());
                          if (IsTerminal(job->state()) || last_look)
                            return alive->Answer(*std::move(job));
                          if (alive->parts_.hub.going_away()) alive->End(DrainingStatus());
                        });
  }

  void Answer(v1::Job job) {
    {
      absl::MutexLock lock(&mutex_);
      if (std::exchange(ended_, true)) return;
      *response_ = std::move(job);
    }
    parts_.scheduler.Decorate(*response_);
    Finish(grpc::Status::OK);
  }

  void End(const absl::Status& status) {
    {
      absl::MutexLock lock(&mutex_);
      if (std::exchange(ended_, true)) return;
    }
    Finish(ToGrpc(status));
  }

  ServiceParts& parts_;
  v1::Job* const response_;
  std::string uid_;                                       // set once in Start
  absl::Time deadline_;                                   // set once in Start
  std::unique_ptr<EventHub::Subscription> subscription_;  // set once in Start
  std::shared_ptr<WaitCall> self_;                        // from Start to OnDone
  absl::Mutex mutex_;
  bool posted_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerUnaryReactor* StartWait(ServiceParts& parts, const v1::WaitJobRequest& request,
                                    v1::Job* response) {
  const auto call = std::make_shared<WaitCall>(parts, response);
  call->Start(request);
  return call.get();
}

}  // namespace adamant
