// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/oracle.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/sha256.h"
#include "tests/support/workers/hash_chain.h"

namespace adamant::testing {
namespace {

constexpr int kLostInARow = 3;

bool HasEnded(v1::JobState state) {
  return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::CANCELLED;
}

v1::JobState StateOf(const std::string& name) {
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  v1::JobState_Parse(name, &state);
  return state;
}

class Oracle {
 public:
  Oracle(const std::vector<Entry>& history, const Truth& truth, const OracleOptions& options)
      : history_(history), truth_(truth), options_(options) {}

  std::vector<std::string> Judge() {
    CheckSubmits();
    CheckTold();
    CheckWatches();
    for (const auto& [name, truth] : truth_.jobs) {
      CheckEvents(name, truth);
      CheckFences(name, truth);
      CheckEnding(name, truth.job);
    }
    for (const Entry& entry : history_) {
      if (entry.op == "upload") CheckBlob(entry);
    }
    return std::move(violations_);
  }

 private:
  template <typename... Parts>
  void Say(const char* kind, const Parts&... parts) {
    violations_.push_back(absl::StrCat(kind, " ", parts...));
  }

  const JobTruth* Find(const std::string& job) const {
    const auto found = truth_.jobs.find(job);
    return found == truth_.jobs.end() ? nullptr : &found->second;
  }

  // No acknowledged submit is lost, a request is one job, and there is no job that nobody asked
  // for.
  void CheckSubmits() {
    std::set<std::string> asked;
    std::set<std::string> deleted;
    std::map<std::string, std::string> job_of;
    for (const Entry& entry : history_) {
      if (entry.op == "asked") asked.insert(entry.request_id);
      if (entry.op == "delete") deleted.insert(entry.job);
      if (entry.op != "submit") continue;
      const auto [known, is_new] = job_of.emplace(entry.request_id, entry.job);
      if (!is_new && known->second != entry.job)
        Say("TWO_JOBS", entry.request_id, " is ", known->second, " and ", entry.job);
    }
    for (const auto& [request, job] : job_of) {
      if (deleted.count(job) > 0) continue;
      if (Find(job) == nullptr) Say("LOST_SUBMIT", job, " of request ", request);
      if (truth_.listed.count(job) == 0) Say("NOT_LISTED", job);
    }
    for (const auto& [name, truth] : truth_.jobs) {
      const auto label = truth.job.options().labels().find("request");
      const std::string request = label == truth.job.options().labels().end() ? "" : label->second;
      if (asked.count(request) == 0) Say("PHANTOM_JOB", name, " of request \"", request, "\"");
      const auto [known, is_new] = job_of.emplace(request, name);
      if (!is_new && known->second != name)
        Say("TWO_JOBS", request, " is ", known->second, " and ", name);
    }
  }

  // What a client was once told stays true.
  void CheckTold() {
    for (const Entry& entry : history_) {
      const JobTruth* truth = Find(entry.job);
      if (truth == nullptr) continue;
      const v1::JobState now = truth->job.state();
      if (entry.op == "seen" || entry.op == "cancel") CheckTerminal(entry, *truth);
      if (entry.op == "cancel" && now != v1::CANCELLED && now != v1::SUCCEEDED)
        Say("CANCEL_IGNORED", entry.job, " is ", v1::JobState_Name(now));
      if (entry.op == "cancel" && now == v1::SUCCEEDED && StateOf(entry.state) == v1::CANCELLED)
        Say("CANCEL_IGNORED", entry.job, " was CANCELLED and is SUCCEEDED");
      if (entry.op == "log") CheckLog(entry, *truth);
    }
  }

  void CheckTerminal(const Entry& entry, const JobTruth& truth) {
    const v1::JobState told = StateOf(entry.state);
    if (HasEnded(told) && told != truth.job.state())
      Say("TERMINAL_CHANGED", entry.job, " was ", entry.state, " and is ",
          v1::JobState_Name(truth.job.state()));
    if (entry.op == "seen" && HasEnded(told) && entry.digest != ResultDigest(truth.job))
      Say("TERMINAL_CHANGED", entry.job, " has another result than a client saw");
    const auto& attempts = truth.job.attempts();
    const int64_t fence = attempts.empty() ? 0 : attempts.rbegin()->fence();
    if (entry.fence > fence) Say("FENCE", entry.job, " went back from ", entry.fence);
  }

  void CheckLog(const Entry& entry, const JobTruth& truth) {
    const auto offset = static_cast<size_t>(entry.seq);
    const auto size = static_cast<size_t>(entry.size);
    if (truth.log.size() < offset + size ||
        Sha256Hex(absl::string_view(truth.log).substr(offset, size)) != entry.digest)
      Say("LOG_REWRITTEN", entry.job, " at ", entry.seq);
  }

  // Each watch saw every event once, in order, and the same as a full replay.
  void CheckWatches() {
    std::map<std::string, int64_t> last;
    for (const Entry& entry : history_) {
      const JobTruth* truth = Find(entry.job);
      if (truth == nullptr) continue;
      const auto count = static_cast<int64_t>(truth->events.size());
      if (entry.op == "ended" && last[entry.watch] != count)
        Say("WATCH_ENDED_EARLY", entry.job, " after ", last[entry.watch], " of ", count);
      if (entry.op != "event") continue;
      int64_t& seq = last[entry.watch];
      if (entry.seq != seq + 1)
        Say("SEQ_GAP", "watch ", entry.watch, " of ", entry.job, ": ", entry.seq, " after ", seq);
      seq = entry.seq;
      if (seq < 1 || seq > count ||
          EventDigest(truth->events[static_cast<size_t>(seq - 1)]) != entry.digest)
        Say("WATCH_DIFFERS", entry.job, " event ", seq);
    }
  }

  void CheckEvents(const std::string& name, const JobTruth& truth) {
    int64_t seq = 0;
    int endings = 0;
    v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
    for (const v1::JobEvent& event : truth.events) {
      if (event.seq() != ++seq) Say("SEQ_GAP", name, ": ", event.seq(), " in place of ", seq);
      endings += event.terminal() ? 1 : 0;
      if (event.has_metric()) CheckMetric(name, truth.job, event.metric());
      if (!event.has_state()) continue;
      if (event.state().from() != state)
        Say("BROKEN_CHAIN", name, " event ", seq, " comes from ",
            v1::JobState_Name(event.state().from()), ", not ", v1::JobState_Name(state));
      if (HasEnded(state)) Say("TWO_ENDINGS", name, " goes on after its end");
      state = event.state().to();
    }
    if (seq != truth.job.last_event_seq())
      Say("SEQ_GAP", name, " ends at ", seq, " of ", truth.job.last_event_seq());
    if (state != truth.job.state()) Say("BROKEN_CHAIN", name, " ends in another state");
    if (endings != (HasEnded(truth.job.state()) ? 1 : 0))
      Say("TWO_ENDINGS", name, " has ", endings, " terminal events");
  }

  void CheckMetric(const std::string& name, const v1::Job& job, const v1::MetricEvent& metric) {
    for (const v1::MetricPoint& point : metric.points()) {
      if (point.name() != "chain") continue;
      if (point.value() != MetricOf(ChainAt(job.spec().train().seed(), point.step())))
        Say("WRONG_METRIC", name, " step ", point.step());
    }
  }

  void CheckFences(const std::string& name, const JobTruth& truth) {
    int64_t fence = 0;
    int number = 0;
    for (const v1::Attempt& attempt : truth.job.attempts()) {
      if (attempt.fence() <= fence || attempt.number() != number + 1)
        Say("FENCE", name, " attempt ", attempt.number(), " has ", attempt.fence());
      fence = attempt.fence();
      number = attempt.number();
    }
    fence = 0;
    for (const v1::JobEvent& event : truth.events) {
      if (event.fence() < fence) Say("FENCE", name, " event ", event.seq());
      fence = std::max(fence, event.fence());
    }
  }

  void CheckEnding(const std::string& name, const v1::Job& job) {
    if (!HasEnded(job.state())) {
      Say("NOT_AT_REST", name, " is ", v1::JobState_Name(job.state()), " without a worker");
    } else if (job.state() == v1::FAILED && !LostItsWorkers(job) && !LostItsOutput(job)) {
      Say("FAILED_BY_RESTART", name, ": ", v1::StateReason_Name(job.state_reason()), " ",
          job.state_message());
    } else if (job.state() == v1::SUCCEEDED) {
      CheckResult(name, job);
    }
  }

  bool LostItsWorkers(const v1::Job& job) const {
    int lost = 0;
    for (const v1::Attempt& attempt : job.attempts())
      lost += attempt.outcome() == v1::ATTEMPT_WORKER_LOST ? 1 : 0;
    return options_.workers_were_killed && lost >= kLostInARow;
  }

  // How a chain ends when it cannot publish.
  bool LostItsOutput(const v1::Job& job) const {
    return options_.disk_failed && job.state_reason() == v1::OUT_OF_MEMORY;
  }

  void CheckResult(const std::string& name, const v1::Job& job) {
    const v1::TrainSpec& spec = job.spec().train();
    if (spec.seed() < kChainSeed) return;
    const std::string golden = Sha256Hex(TextOf(ChainAt(spec.seed(), spec.steps())));
    const v1::TrainReport& report = job.result().train();
    if (report.steps() != spec.steps() || report.weights_sha256() != golden)
      Say("WRONG_RESULT", name, " has ", report.steps(), " steps, ", report.weights_sha256());
  }

  void CheckBlob(const Entry& entry) {
    const auto found = truth_.blobs.find(entry.digest);
    if (found == truth_.blobs.end() || found->second != entry.digest)
      Say("BLOB_LOST", entry.digest, found == truth_.blobs.end() ? " is gone" : " has other bytes");
  }

  const std::vector<Entry>& history_;
  const Truth& truth_;
  const OracleOptions options_;
  std::vector<std::string> violations_;
};

}  // namespace

std::vector<std::string> Violations(const std::vector<Entry>& history, const Truth& truth,
                                    const OracleOptions& options) {
  return Oracle(history, truth, options).Judge();
}

}  // namespace adamant::testing
