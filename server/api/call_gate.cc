// SPDX-License-Identifier: Apache-2.0
#include "server/api/call_gate.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "google/rpc/error_details.pb.h"
#include "server/api/status.h"

namespace adamant {
namespace {

constexpr absl::Duration kMemoryRetry = absl::Seconds(1);

// The host of "ipv4:192.0.2.1:5000"; a peer without a port is its own host.
absl::string_view HostOf(absl::string_view peer) {
  if (!absl::StartsWith(peer, "ipv")) return peer;
  return peer.substr(0, peer.rfind(':'));
}

absl::Status RateLimited(absl::string_view subject, absl::string_view what, double per_second,
                         absl::Duration wait) {
  google::rpc::QuotaFailure quota;
  auto& violation = *quota.add_violations();
  violation.set_subject(std::string(subject));
  violation.set_description(absl::StrFormat("%g %s per second", per_second, what));
  absl::Status status = WithReason(
      absl::ResourceExhaustedError(absl::StrFormat(
          "more than %g %s per second; wait as long as RetryInfo says", per_second, what)),
      "RATE_LIMITED", {{"per_second", absl::StrCat(per_second)}});
  return WithRetryAfter(WithDetail(std::move(status), quota), wait);
}

// Adds a call that is to end with `status`, once.
void Take(CallGate::Open& open, const absl::Status& status, std::vector<grpc_call*>& calls) {
  if (!open.ended.ok()) return;
  open.ended = status;
  grpc_call_ref(open.call);
  calls.push_back(open.call);
}

// Details do not fit.
void End(const std::vector<grpc_call*>& calls, const absl::Status& status) {
  const std::string message(status.message());
  for (grpc_call* call : calls) {
    grpc_call_cancel_with_status(call, static_cast<grpc_status_code>(status.code()),
                                 message.c_str(), nullptr);
    grpc_call_unref(call);
  }
}

}  // namespace

// What timers hold on to; the gate may be gone when they fire.
struct CallGate::Sweeper {
  absl::Mutex mutex;
  CallGate* gate ABSL_GUARDED_BY(mutex);
};

CallGate::CallGate(const ApiLimits& limits, Timers& timers)
    : limits_(limits),
      starts_(limits.rpc_starts_per_second, limits.rpc_burst),
      submits_(limits.submits_per_second, limits.submit_burst),
      timers_(timers),
      sweeper_(std::make_shared<Sweeper>()) {
  absl::MutexLock lock(&sweeper_->mutex);
  sweeper_->gate = this;
}

CallGate::~CallGate() {
  absl::MutexLock lock(&sweeper_->mutex);
  sweeper_->gate = nullptr;
}

absl::Status CallGate::Start(absl::string_view peer, absl::Time now) {
  if (closed_) return DrainingStatus();
  const absl::string_view host = HostOf(peer);
  const absl::Duration wait = starts_.Take(host, now);
  if (wait == absl::ZeroDuration()) return absl::OkStatus();
  return RateLimited(host, "calls", limits_.rpc_starts_per_second, wait);
}

absl::Status CallGate::Submit(absl::string_view tenant, absl::Time now) {
  const absl::Duration wait = submits_.Take(tenant, now);
  if (wait == absl::ZeroDuration()) return absl::OkStatus();
  return RateLimited(tenant, "submits", limits_.submits_per_second, wait);
}

absl::Status CallGate::Reserve(int64_t bytes) {
  if (reserved_.fetch_add(bytes) + bytes <= limits_.call_memory_bytes) return absl::OkStatus();
  reserved_ -= bytes;
  return WithRetryAfter(
      WithReason(absl::ResourceExhaustedError("the calls in flight hold all the memory there is "
                                              "for them; wait as long as RetryInfo says"),
                 "MEMORY_FULL", {{"limit_bytes", absl::StrCat(limits_.call_memory_bytes)}}),
      kMemoryRetry);
}

void CallGate::Close() { closed_ = true; }

bool CallGate::AwaitIdle(absl::Duration limit) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(this, &CallGate::Idle), limit);
}

CallGate::Entry CallGate::Enter(grpc_call* call, bool capped, absl::Time now) {
  grpc_call_ref(call);
  absl::MutexLock lock(&mutex_);
  if (!capped) return uncapped_.insert(uncapped_.end(), {call, absl::InfiniteFuture(), {}});
  const Entry entry = capped_.insert(capped_.end(), {call, now + limits_.unary_cap, {}});
  if (!armed_) Arm(entry->until);
  return entry;
}

absl::Status CallGate::Uncap(Entry entry) {
  absl::MutexLock lock(&mutex_);
  if (entry->until != absl::InfiniteFuture()) {
    entry->until = absl::InfiniteFuture();
    uncapped_.splice(uncapped_.end(), capped_, entry);
  }
  return entry->ended;
}

void CallGate::Leave(Entry entry) {
  grpc_call* const call = entry->call;
  {
    absl::MutexLock lock(&mutex_);
    (entry->until != absl::InfiniteFuture() ? capped_ : uncapped_).erase(entry);
  }
  grpc_call_unref(call);
}

void CallGate::Arm(absl::Time at) {
  armed_ = true;
  timers_.At(at, [sweeper = sweeper_] {
    absl::MutexLock lock(&sweeper->mutex);
    if (sweeper->gate != nullptr) sweeper->gate->Sweep(absl::Now());
  });
}

void CallGate::Sweep(absl::Time now) {
  std::vector<grpc_call*> late;
  const absl::Status too_long = absl::DeadlineExceededError(
      "the call took longer than the server allows a call without a deadline; set one");
  {
    absl::MutexLock lock(&mutex_);
    armed_ = false;
    for (Open& open : capped_) {
      if (open.until > now) {
        Arm(open.until);
        break;
      }
      Take(open, too_long, late);
    }
  }
  End(late, too_long);
}

void CallGate::EndCalls() {
  std::vector<grpc_call*> left;
  const absl::Status ending = DrainingStatus();
  {
    absl::MutexLock lock(&mutex_);
    for (Open& open : capped_) Take(open, ending, left);
    for (Open& open : uncapped_) Take(open, ending, left);
  }
  End(left, ending);
}

}  // namespace adamant
