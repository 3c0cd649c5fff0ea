// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/job.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/error_reason.h"
#include "common/serialize.h"
#include "common/sha256.h"

namespace adamant {
namespace {

constexpr char kBase32[] = "abcdefghijklmnopqrstuvwxyz234567";
constexpr size_t kUidLength = 26;
constexpr absl::Duration kRetention = absl::Hours(24 * 30);

struct Arrow {
  v1::JobState from;
  v1::JobState to;
};

constexpr Arrow kArrows[] = {
    {v1::QUEUED, v1::STARTING},      {v1::QUEUED, v1::CANCELLED},
    {v1::QUEUED, v1::PAUSED},        {v1::QUEUED, v1::FAILED},
    {v1::PAUSED, v1::CANCELLED},     {v1::PAUSED, v1::QUEUED},
    {v1::STARTING, v1::RUNNING},     {v1::STARTING, v1::PAUSING},
    {v1::STARTING, v1::CANCELLING},  {v1::STARTING, v1::SUCCEEDED},
    {v1::STARTING, v1::FAILED},      {v1::STARTING, v1::RECOVERING},
    {v1::RUNNING, v1::PAUSING},      {v1::RUNNING, v1::CANCELLING},
    {v1::RUNNING, v1::SUCCEEDED},    {v1::RUNNING, v1::FAILED},
    {v1::RUNNING, v1::RECOVERING},   {v1::PAUSING, v1::PAUSED},
    {v1::PAUSING, v1::CANCELLING},   {v1::PAUSING, v1::SUCCEEDED},
    {v1::PAUSING, v1::RECOVERING},   {v1::CANCELLING, v1::CANCELLED},
    {v1::CANCELLING, v1::SUCCEEDED}, {v1::RECOVERING, v1::QUEUED},
    {v1::RECOVERING, v1::FAILED},    {v1::RECOVERING, v1::PAUSED},
    {v1::RECOVERING, v1::CANCELLED},
};

void AddReference(const std::string& name, std::vector<std::string>& names) {
  if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end())
    names.push_back(name);
}

absl::Status WrongState(const v1::Job& job, absl::string_view verb) {
  const std::string state = v1::JobState_Name(job.state());
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat(job.name(), " is ", state, ": it cannot ", verb)),
      "WRONG_STATE", {{"state", state}});
}

}  // namespace

std::string NewJobUid() {
  std::array<unsigned char, 16> random;
  RAND_bytes(random.data(), static_cast<int>(random.size()));
  std::string uid;
  for (size_t i = 0; i < kUidLength; ++i) {
    uint32_t group = 0;
    for (size_t bit = i * 5; bit < i * 5 + 5; ++bit) {
      const bool set = bit < 128 && (random[bit / 8] >> (7 - bit % 8) & 1) != 0;
      group = group << 1 | (set ? 1 : 0);
    }
    uid += kBase32[group];
  }
  return uid;
}

std::string JobName(absl::string_view uid) { return absl::StrCat("jobs/", uid); }

absl::StatusOr<std::string> JobUid(absl::string_view name) {
  absl::string_view uid = name;
  const bool valid = absl::ConsumePrefix(&uid, "jobs/") && uid.size() == kUidLength &&
                     uid.find_first_not_of(kBase32) == absl::string_view::npos;
  if (valid) return std::string(uid);
  return WithReason(absl::NotFoundError(absl::StrCat("no job ", name)), "JOB_NOT_FOUND",
                    {{"name", std::string(name)}});
}

v1::JobKind KindOf(const v1::JobSpec& spec) {
  switch (spec.spec_case()) {
    case v1::JobSpec::kTrain:
      return v1::TRAIN;
    case v1::JobSpec::kAttack:
      return v1::ATTACK;
    case v1::JobSpec::kExplain:
      return v1::EXPLAIN;
    default:
      return v1::JOB_KIND_UNSPECIFIED;
  }
}

std::string SpecDigest(const v1::JobSpec& spec) { return Sha256Hex(SerializeStably(spec)); }

const v1::ModelSource& ModelSourceOf(const v1::JobSpec& spec) {
  if (spec.has_train()) return spec.train().model();
  if (spec.has_attack()) return spec.attack().model();
  return spec.explain().model();
}

std::vector<std::string> ReferencesOf(const v1::JobSpec& spec) {
  std::vector<std::string> names;
  AddReference(ModelSourceOf(spec).model(), names);
  if (spec.has_train()) {
    AddReference(spec.train().train().dataset(), names);
    AddReference(spec.train().validation().dataset(), names);
  }
  AddReference(spec.attack().data().dataset(), names);
  AddReference(spec.explain().data().dataset(), names);
  return names;
}

NewJob MakeJob(v1::JobSpec spec, v1::SubmitOptions options, absl::string_view tenant,
               absl::string_view owner, absl::Time now) {
  NewJob created;
  created.request_id = options.request_id();
  options.clear_request_id();
  created.references = ReferencesOf(spec);
  v1::Job& job = created.job;
  job.set_name(JobName(NewJobUid()));
  job.set_tenant(std::string(tenant));
  job.set_owner(std::string(owner));
  job.set_kind(KindOf(spec));
  job.set_spec_digest(SpecDigest(spec));
  *job.mutable_spec() = std::move(spec);
  job.set_state(options.start_paused() ? v1::PAUSED : v1::QUEUED);
  *job.mutable_options() = std::move(options);
  *job.mutable_create_time() = ToProto(now);
  *job.mutable_queue_time() = ToProto(now);
  *job.mutable_update_time() = ToProto(now);
  created.content_digest =
      Sha256Hex(absl::StrCat(job.spec_digest(), SerializeStably(job.options())));
  created.event.set_type(v1::STATE);
  *created.event.mutable_time() = ToProto(now);
  created.event.mutable_state()->set_to(job.state());
  return created;
}

bool IsTerminal(v1::JobState state) {
  return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::CANCELLED;
}

bool HasWorker(v1::JobState state) {
  return state == v1::STARTING || state == v1::RUNNING || state == v1::PAUSING ||
         state == v1::CANCELLING;
}

bool CanMove(v1::JobState from, v1::JobState to) {
  return std::any_of(std::begin(kArrows), std::end(kArrows),
                     [&](const Arrow& arrow) { return arrow.from == from && arrow.to == to; });
}

absl::Status MoveJob(JobDraft& draft, v1::JobState to, v1::StateReason reason,
                     absl::string_view message, absl::Time now) {
  v1::Job& job = draft.job;
  const v1::JobState from = job.state();
  if (!CanMove(from, to)) return WrongState(job, absl::StrCat("become ", v1::JobState_Name(to)));
  const google::protobuf::Timestamp time = ToProto(now);
  job.set_state(to);
  job.set_state_reason(reason);
  job.set_state_message(std::string(message.substr(0, 1024)));
  *job.mutable_update_time() = time;
  // A recovered job keeps its place in the queue.
  if (from == v1::PAUSED && to == v1::QUEUED) *job.mutable_queue_time() = time;
  if (to != v1::QUEUED || from == v1::PAUSED) job.clear_retry_time();
  if (to == v1::STARTING && !job.has_start_time()) *job.mutable_start_time() = time;
  if (IsTerminal(to)) {
    *job.mutable_end_time() = time;
    const absl::Duration retention =
        job.options().has_retention() ? DurationOf(job.options().retention()) : kRetention;
    *job.mutable_expire_time() = ToProto(now + retention);
  }
  v1::JobEvent& event = AddEvent(draft, v1::STATE, now);
  event.set_terminal(IsTerminal(to));
  event.mutable_state()->set_from(from);
  event.mutable_state()->set_to(to);
  event.mutable_state()->set_reason(reason);
  event.mutable_state()->set_message(job.state_message());
  return absl::OkStatus();
}

absl::Status CancelJob(JobDraft& draft, absl::Time now) {
  switch (draft.job.state()) {
    case v1::CANCELLING:
    case v1::CANCELLED:
      return absl::OkStatus();
    case v1::SUCCEEDED:
    case v1::FAILED:
      return WrongState(draft.job, "be cancelled");
    default:
      break;
  }
  const v1::JobState to = HasWorker(draft.job.state()) ? v1::CANCELLING : v1::CANCELLED;
  return MoveJob(draft, to, v1::USER_REQUEST, "cancelled on request", now);
}

absl::Status PauseJob(JobDraft& draft, absl::Time now) {
  switch (draft.job.state()) {
    case v1::PAUSING:
    case v1::PAUSED:
      return absl::OkStatus();
    case v1::QUEUED:
    case v1::RECOVERING:
      return MoveJob(draft, v1::PAUSED, v1::USER_REQUEST, "paused on request", now);
    case v1::STARTING:
    case v1::RUNNING:
      return MoveJob(draft, v1::PAUSING, v1::USER_REQUEST, "a pause was requested", now);
    default:
      return WrongState(draft.job, "be paused");
  }
}

absl::Status ResumeJob(JobDraft& draft, absl::Time now) {
  switch (draft.job.state()) {
    case v1::QUEUED:
    case v1::STARTING:
    case v1::RUNNING:
    case v1::RECOVERING:
      return absl::OkStatus();
    case v1::PAUSED:
      return MoveJob(draft, v1::QUEUED, v1::USER_REQUEST, "resumed on request", now);
    default:
      return WrongState(draft.job, "be resumed");
  }
}

absl::Status CheckEtag(const v1::Job& job, absl::string_view etag) {
  if (etag.empty() || etag == job.etag()) return absl::OkStatus();
  return WithReason(absl::AbortedError("the job changed; read it again"), "ETAG_MISMATCH",
                    {{"etag", job.etag()}});
}

v1::JobEvent& AddEvent(JobDraft& draft, v1::EventType type, absl::Time now) {
  v1::JobEvent& event = draft.events.emplace_back();
  event.set_type(type);
  *event.mutable_time() = ToProto(now);
  event.set_attempt(draft.job.attempt());
  if (!draft.job.attempts().empty()) event.set_fence(LastAttempt(draft.job).fence());
  return event;
}

v1::Attempt& LastAttempt(v1::Job& job) { return *job.mutable_attempts(job.attempts_size() - 1); }
const v1::Attempt& LastAttempt(const v1::Job& job) { return job.attempts(job.attempts_size() - 1); }

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp proto;
  const int64_t seconds = absl::ToUnixSeconds(time);
  proto.set_seconds(seconds);
  proto.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return proto;
}

absl::Time FromProto(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

absl::Duration DurationOf(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

}  // namespace adamant
