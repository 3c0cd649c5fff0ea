// SPDX-License-Identifier: Apache-2.0
// The promises a world keeps after every event.
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/simulation/world.h"

namespace adamant::testing {
namespace {

void Mix(uint64_t& trace, uint64_t value) { trace = (trace ^ value) * 1099511628211U; }

bool MayFail(v1::StateReason reason) {
  switch (reason) {
    case v1::OUT_OF_MEMORY:
    case v1::WORKER_LOST:
    case v1::DEVICE_FAULT:
    case v1::MODEL_INCOMPATIBLE:
    case v1::TIMEOUT:
    case v1::QUEUE_TIMEOUT:
    case v1::POISON:
      return true;
    default:
      return false;
  }
}

}  // namespace

void World::Expect(bool kept, const std::string& promise) {
  if (kept || !problem_.empty()) return;
  problem_ = absl::StrCat("broken after ", events_, " events: ", promise);
}

void World::OnJob(const v1::Job& job, const std::vector<v1::JobEvent>& new_events) {
  const std::string uid = job.name().substr(5);
  CheckCommit(uid, job, new_events);
  last_[uid] = job;
  if (server_ == nullptr || server_->core == nullptr) return;
  server_->hub->OnJob(job, new_events);
  if (server_->core->OnJob(uid, job)) AskForStep(clock_.Steady());
}

void World::CheckCommit(const std::string& uid, const v1::Job& job,
                        const std::vector<v1::JobEvent>& events) {
  const bool known = last_.count(uid) > 0;
  const v1::Job before = known ? last_[uid] : v1::Job();
  Expect(!IsTerminal(before.state()) || events.empty(),
         absl::StrCat(uid, " has ended, yet it changes"));
  int64_t seq = before.last_event_seq();
  v1::JobState state = before.state();
  for (const v1::JobEvent& event : events) {
    Expect(event.seq() == ++seq, absl::StrCat(uid, ": seq without a gap"));
    Mix(trace_, static_cast<uint64_t>(event.seq()));
    if (!event.has_state()) continue;
    Expect(!known || CanMove(state, event.state().to()),
           absl::StrCat(uid, ": ", v1::JobState_Name(state), " -> ",
                        v1::JobState_Name(event.state().to()), " is in the table"));
    state = event.state().to();
    Mix(trace_, static_cast<uint64_t>(state) << 8 | static_cast<uint64_t>(event.state().reason()));
    Mix(trace_, static_cast<uint64_t>(absl::ToUnixNanos(clock_.Steady())));
  }
  Expect(state == job.state(), absl::StrCat(uid, ": the state is the last event's"));
  Expect(job.attempts_size() >= before.attempts_size(), "no attempt is forgotten");
  for (int i = 1; i < job.attempts_size(); ++i)
    Expect(job.attempts(i).fence() > job.attempts(i - 1).fence(), "fences only grow");
  for (const v1::Attempt& attempt : job.attempts())
    Expect(
        !attempt.has_end_time() || FromProto(attempt.end_time()) >= FromProto(attempt.start_time()),
        "no attempt has a negative duration");
  if (job.state() == v1::SUCCEEDED && !IsTerminal(before.state()))
    Expect(reports_.count({uid, LastAttempt(job).fence()}) > 0,
           absl::StrCat(uid, ": a result comes from the worker of its attempt"));
  if (job.state() == v1::FAILED)
    Expect(MayFail(job.state_reason()),
           absl::StrCat(uid, ": failed with reason ", v1::StateReason_Name(job.state_reason())));
  if (job.state() == v1::CANCELLED)
    Expect(cancels_.count(uid) > 0, absl::StrCat(uid, ": nobody cancelled it"));
  const int limit = job.options().retry_policy().has_max_attempts()
                        ? job.options().retry_policy().max_attempts()
                        : 3;
  Expect(job.charged_attempts() <= limit, absl::StrCat(uid, ": more attempts than its budget"));
}

void World::CheckServer() {
  std::set<std::string> in_slots;
  for (const v1::SlotStatus& slot : server_->core->Status().slots) {
    if (slot.job().empty()) continue;
    Expect(in_slots.insert(slot.job()).second, absl::StrCat(slot.job(), " has two slots"));
    Expect(server_->attempts.count(slot.job().substr(5)) > 0, "a busy slot has an attempt");
  }
  Expect(in_slots.size() == server_->attempts.size(), "every attempt has its slot");
  int queued = 0;
  for (const auto& [uid, stored] : store_.jobs()) {
    if (stored.job.state() != v1::QUEUED) continue;
    ++queued;
    const v1::QueueInfo info = server_->core->Describe(uid);
    Expect(info.position() >= 1, absl::StrCat(uid, " is queued and has a position"));
    Expect(info.blocking_reason() != v1::BLOCKING_REASON_UNSPECIFIED,
           absl::StrCat(uid, " is queued and has a reason"));
  }
  Expect(server_->core->Status().queued_jobs == queued, "the queue is what the store says");
  Expect(static_cast<int>(store_.jobs().size()) == static_cast<int>(last_.size()),
         "no accepted job is lost");
}

void World::CheckEnd() {
  for (const auto& [uid, stored] : store_.jobs())
    Expect(IsTerminal(stored.job.state()),
           absl::StrCat(uid, " never ended: ", v1::JobState_Name(stored.job.state())));
  Expect(server_->attempts.empty() || !problem_.empty(), "no attempt is left");
}

}  // namespace adamant::testing
