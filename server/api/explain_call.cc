// SPDX-License-Identifier: Apache-2.0
#include "server/api/explain_call.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "server/api/spec_checker.h"
#include "server/api/spec_resolver.h"
#include "server/api/status.h"
#include "server/jobs/interactive_pool.h"

namespace adamant {
namespace {

constexpr absl::Duration kDefaultDeadline = absl::Seconds(10);
constexpr absl::Duration kMaxDeadline = absl::Seconds(60);
constexpr size_t kMaxRequestBytes = 4 << 20;
constexpr absl::Duration kRetryAfter = absl::Seconds(2);

// The caller's deadline, at most a minute away; ten seconds when it has none.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  const absl::Time now = absl::Now();
  const std::chrono::system_clock::time_point given = context.deadline();
  if (given == std::chrono::system_clock::time_point::max()) return now + kDefaultDeadline;
  return std::min(absl::FromChrono(given), now + kMaxDeadline);
}

// Ends once, with the answer of the pool or when the caller has gone. Thread-safe.
class ExplainCall : public grpc::ServerUnaryReactor,
                    public std::enable_shared_from_this<ExplainCall> {
 public:
  ExplainCall(ServiceParts& parts, absl::Time deadline, const v1::ExplainRequest& request,
              v1::ExplainResponse* response)
      : parts_(parts), deadline_(deadline), request_(request), response_(response) {}

  void Start() {
    self_ = shared_from_this();
    if (parts_.interactive == nullptr) {
      return End(absl::UnimplementedError("this server does not serve interactive explanations"));
    }
    const bool taken = parts_.calls.Run([alive = shared_from_this()] { alive->Submit(); });
    if (!taken) End(OverloadedStatus());
  }

  void OnCancel() override {
    std::shared_ptr<InteractiveCall> running;
    {
      absl::MutexLock lock(&mutex_);
      cancelled_ = true;
      running = running_;
    }
    const absl::Status gone = absl::CancelledError("the caller has gone");
    if (running != nullptr) running->Stop(gone);
    End(gone);
  }

  void OnDone() override { const std::shared_ptr<ExplainCall> last = std::move(self_); }

 private:
  absl::Status Check(v1::ExplainRequest& request) {
    if (parts_.scheduler.status().draining) return DrainingStatus();
    if (request.ByteSizeLong() > kMaxRequestBytes) {
      return InvalidField("spec", "INVALID_SPEC",
                          absl::StrCat("has ", request.ByteSizeLong(), " bytes; at most ",
                                       kMaxRequestBytes, ". Submit an explain job instead"));
    }
    SpecChecker checker(parts_.catalog);
    checker.CheckInteractive(*request.mutable_spec());
    RETURN_IF_ERROR(ViolationStatus(checker.violations()));
    v1::JobSpec spec;
    *spec.mutable_explain()->mutable_model() = request.spec().model();
    return SpecResolver(parts_.store, kLocalTenant).Resolve(spec);
  }

  // Blocks on the store.
  void Submit() {
    {
      absl::MutexLock lock(&mutex_);
      if (ended_) return;  // then the request is gone too
    }
    v1::ExplainRequest request = std::move(request_);
    if (absl::Status status = Check(request); !status.ok()) return End(status);
    const auto running = parts_.interactive->Explain(
        kLocalTenant, std::move(request), deadline_,
        [alive = shared_from_this()](absl::StatusOr<v1::ExplainResponse> response) {
          alive->Answer(std::move(response));
        });
    absl::MutexLock lock(&mutex_);
    running_ = running;
    if (cancelled_) running_->Stop(absl::CancelledError("the caller has gone"));
  }

  void Answer(absl::StatusOr<v1::ExplainResponse> response) {
    if (absl::IsResourceExhausted(response.status()))
      return End(WithRetryAfter(response.status(), kRetryAfter));
    if (!response.ok()) return End(response.status());
    parts_.metrics.ExplainSeconds(response->compute_seconds());
    {
      absl::MutexLock lock(&mutex_);
      if (std::exchange(ended_, true)) return;
      *response_ = *std::move(response);
    }
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
  const absl::Time deadline_;
  v1::ExplainRequest request_;           // a copy: gRPC's ends with the call
  v1::ExplainResponse* const response_;  // valid until Finish
  std::shared_ptr<ExplainCall> self_;    // from Start to OnDone
  absl::Mutex mutex_;
  std::shared_ptr<InteractiveCall> running_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerUnaryReactor* StartExplain(ServiceParts& parts, grpc::CallbackServerContext* context,
                                       const v1::ExplainRequest& request,
                                       v1::ExplainResponse* response) {
  const auto call = std::make_shared<ExplainCall>(parts, DeadlineOf(*context), request, response);
  call->Start();
  return call.get();
}

}  // namespace adamant
