// SPDX-License-Identifier: Apache-2.0
// A planted violation of each kind is found, and a clean history has none.
#include "tests/fault/oracle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/sha256.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/workers/hash_chain.h"

namespace adamant::testing {
namespace {

constexpr char kJob[] = "jobs/a";
constexpr uint64_t kSeed = kChainSeed + 7;

class OracleTest : public ::testing::Test {
 protected:
  OracleTest() {
    v1::Job& job = truth.jobs[kJob].job;
    job.set_name(kJob);
    (*job.mutable_options()->mutable_labels())["request"] = "r1";
    job.mutable_spec()->mutable_train()->set_seed(kSeed);
    job.mutable_spec()->mutable_train()->set_steps(3);
    v1::Attempt& attempt = *job.add_attempts();
    attempt.set_number(1);
    attempt.set_fence(4);
    job.mutable_result()->mutable_train()->set_steps(3);
    job.mutable_result()->mutable_train()->set_weights_sha256(Sha256Hex(TextOf(ChainAt(kSeed, 3))));
    AddState(v1::JOB_STATE_UNSPECIFIED, v1::QUEUED, 0);
    AddState(v1::QUEUED, v1::STARTING, 4);
    AddState(v1::STARTING, v1::RUNNING, 4);
    v1::JobEvent& event = AddEvent(4);
    v1::MetricPoint& point = *event.mutable_metric()->add_points();
    point.set_name("chain");
    point.set_step(2);
    point.set_value(MetricOf(ChainAt(kSeed, 2)));
    AddState(v1::RUNNING, v1::SUCCEEDED, 4);
    truth.listed = {kJob};
    truth.jobs[kJob].log = "a line\n";
    truth.blobs["d1"] = "d1";
    history = {{.op = "asked", .request_id = "r1"},
               {.op = "submit", .request_id = "r1", .job = kJob},
               {.op = "submit", .request_id = "r1", .job = kJob},
               {.op = "upload", .digest = "d1", .size = 3},
               {.op = "log", .job = kJob, .digest = Sha256Hex("line"), .seq = 2, .size = 4},
               SeenEntry(job)};
    for (const v1::JobEvent& stored : truth.jobs[kJob].events)
      history.push_back({.op = "event",
                         .job = kJob,
                         .watch = "w",
                         .digest = EventDigest(stored),
                         .seq = stored.seq()});
    history.push_back({.op = "ended", .job = kJob, .watch = "w"});
  }

  v1::Job& job() { return truth.jobs[kJob].job; }
  std::vector<v1::JobEvent>& events() { return truth.jobs[kJob].events; }

  v1::JobEvent& AddEvent(int64_t fence) {
    v1::JobEvent& event = events().emplace_back();
    event.set_seq(static_cast<int64_t>(events().size()));
    event.set_fence(fence);
    job().set_last_event_seq(event.seq());
    return event;
  }

  void AddState(v1::JobState from, v1::JobState to, int64_t fence) {
    v1::JobEvent& event = AddEvent(fence);
    event.mutable_state()->set_from(from);
    event.mutable_state()->set_to(to);
    event.set_terminal(to == v1::SUCCEEDED || to == v1::FAILED || to == v1::CANCELLED);
    job().set_state(to);
  }

  // The kinds of the violations, once each.
  std::set<std::string> Kinds(const OracleOptions& options = {}) const {
    std::set<std::string> kinds;
    for (const std::string& violation : Violations(history, truth, options))
      kinds.insert(violation.substr(0, violation.find(' ')));
    return kinds;
  }

  // The watch is replaced by what it should have seen, so that only the planted fault is left.
  void ForgetWatch() {
    std::vector<Entry> kept;
    for (const Entry& entry : history) {
      if (entry.watch.empty() && entry.op != "seen") kept.push_back(entry);
    }
    history = kept;
  }

  std::vector<Entry> history;
  Truth truth;
};

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(OracleTest, FindsNothingInACleanHistory) {
  EXPECT_THAT(Violations(history, truth), IsEmpty());
}

TEST_F(OracleTest, FindsALostSubmit) {
  history.push_back({.op = "asked", .request_id = "r2"});
  history.push_back({.op = "submit", .request_id = "r2", .job = "jobs/b"});
  EXPECT_THAT(Kinds(), ElementsAre("LOST_SUBMIT", "NOT_LISTED"));
  history.push_back({.op = "delete", .job = "jobs/b"});
  EXPECT_THAT(Kinds(), IsEmpty());
}

TEST_F(OracleTest, FindsTwoJobsOfOneRequestThatAClientSaw) {
  history.push_back({.op = "submit", .request_id = "r1", .job = "jobs/b"});
  EXPECT_THAT(Kinds(), Contains("TWO_JOBS"));
}

TEST_F(OracleTest, FindsTwoJobsOfOneRequestThatOnlyTheServerHas) {
  truth.jobs["jobs/b"] = truth.jobs[kJob];
  EXPECT_THAT(Kinds(), ElementsAre("TWO_JOBS"));
}

TEST_F(OracleTest, FindsAJobThatNobodyAskedFor) {
  (*job().mutable_options()->mutable_labels())["request"] = "r9";
  EXPECT_THAT(Kinds(), Contains("PHANTOM_JOB"));
}

TEST_F(OracleTest, FindsAJobThatTheListLeavesOut) {
  truth.listed.clear();
  EXPECT_THAT(Kinds(), ElementsAre("NOT_LISTED"));
}

TEST_F(OracleTest, FindsTwoTerminalEvents) {
  ForgetWatch();
  AddState(v1::SUCCEEDED, v1::SUCCEEDED, 4);
  EXPECT_THAT(Kinds(), ElementsAre("TWO_ENDINGS"));
}

TEST_F(OracleTest, FindsATerminalStateThatChanged) {
  history.push_back({.op = "seen", .job = kJob, .state = "CANCELLED"});
  EXPECT_THAT(Kinds(), ElementsAre("TERMINAL_CHANGED"));
}

TEST_F(OracleTest, FindsAResultThatChanged) {
  history.push_back({.op = "seen", .job = kJob, .state = "SUCCEEDED", .digest = "other"});
  EXPECT_THAT(Kinds(), ElementsAre("TERMINAL_CHANGED"));
}

TEST_F(OracleTest, FindsAGapInTheStore) {
  ForgetWatch();
  events().erase(events().begin() + 3);
  EXPECT_THAT(Kinds(), ElementsAre("SEQ_GAP"));
}

TEST_F(OracleTest, FindsAGapInAWatch) {
  history.erase(history.begin() + 8);
  EXPECT_THAT(Kinds(), ElementsAre("SEQ_GAP"));
}

TEST_F(OracleTest, FindsAnEventThatAWatchSawTwice) {
  history.insert(history.begin() + 8, history[7]);
  EXPECT_THAT(Kinds(), ElementsAre("SEQ_GAP"));
}

TEST_F(OracleTest, FindsAnEventThatWasRewritten) {
  history[7].digest = "other";
  EXPECT_THAT(Kinds(), ElementsAre("WATCH_DIFFERS"));
}

TEST_F(OracleTest, FindsAWatchThatEndedWellTooEarly) {
  history.erase(history.end() - 2);
  EXPECT_THAT(Kinds(), ElementsAre("WATCH_ENDED_EARLY"));
}

TEST_F(OracleTest, FindsATransitionThatIsMissing) {
  ForgetWatch();
  events()[1].mutable_state()->set_from(v1::PAUSED);
  EXPECT_THAT(Kinds(), ElementsAre("BROKEN_CHAIN"));
}

TEST_F(OracleTest, FindsACancelThatWasForgotten) {
  history.push_back({.op = "cancel", .job = kJob, .state = "CANCELLED"});
  EXPECT_THAT(Kinds(), ElementsAre("CANCEL_IGNORED", "TERMINAL_CHANGED"));
  history.back().state = "CANCELLING";  // the result was complete before
  EXPECT_THAT(Kinds(), IsEmpty());
}

TEST_F(OracleTest, FindsAnUploadThatIsGoneOrHasOtherBytes) {
  truth.blobs["d1"] = "d2";
  EXPECT_THAT(Kinds(), ElementsAre("BLOB_LOST"));
  truth.blobs.clear();
  EXPECT_THAT(Kinds(), ElementsAre("BLOB_LOST"));
}

TEST_F(OracleTest, FindsAFenceThatDoesNotGrow) {
  v1::Attempt& attempt = *job().add_attempts();
  attempt.set_number(2);
  attempt.set_fence(4);
  EXPECT_THAT(Kinds(), ElementsAre("FENCE"));
}

TEST_F(OracleTest, FindsAFenceThatAClientSawHigher) {
  history.push_back({.op = "seen", .job = kJob, .state = "RUNNING", .fence = 5});
  EXPECT_THAT(Kinds(), ElementsAre("FENCE"));
}

TEST_F(OracleTest, FindsAnEventOfAStaleAttempt) {
  ForgetWatch();
  events()[4].set_fence(3);
  EXPECT_THAT(Kinds(), ElementsAre("FENCE"));
}

TEST_F(OracleTest, FindsAJobThatRunsForEver) {
  ForgetWatch();
  events().pop_back();
  job().set_last_event_seq(4);
  job().set_state(v1::RUNNING);
  EXPECT_THAT(Kinds(), ElementsAre("NOT_AT_REST"));
}

TEST_F(OracleTest, FindsAJobThatARestartFailed) {
  ForgetWatch();
  job().set_state(v1::FAILED);
  events()[4].mutable_state()->set_to(v1::FAILED);
  EXPECT_THAT(Kinds(), ElementsAre("FAILED_BY_RESTART"));
  for (int i = 2; i <= 4; ++i) {
    v1::Attempt& attempt = *job().add_attempts();
    attempt.set_number(i);
    attempt.set_fence(3 + i);
    attempt.set_outcome(v1::ATTEMPT_WORKER_LOST);
  }
  EXPECT_THAT(Kinds({.workers_were_killed = true}), IsEmpty());
  EXPECT_THAT(Kinds(), ElementsAre("FAILED_BY_RESTART"));
}

TEST_F(OracleTest, FindsAResultWithALostStep) {
  ForgetWatch();
  job().mutable_result()->mutable_train()->set_weights_sha256(Sha256Hex(TextOf(ChainAt(kSeed, 2))));
  EXPECT_THAT(Kinds(), ElementsAre("WRONG_RESULT"));
}

TEST_F(OracleTest, FindsAMetricOfAnotherJob) {
  ForgetWatch();
  events()[3].mutable_metric()->mutable_points(0)->set_value(MetricOf(ChainAt(kSeed + 1, 2)));
  EXPECT_THAT(Kinds(), ElementsAre("WRONG_METRIC"));
}

TEST_F(OracleTest, FindsALogThatWasRewritten) {
  truth.jobs[kJob].log = "a lime\n";
  EXPECT_THAT(Kinds(), ElementsAre("LOG_REWRITTEN"));
}

TEST_F(OracleTest, ReadsTheHistoryBackFromItsFile) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/history.jsonl";
  {
    History written(path);
    for (const Entry& entry : history) written.Add(entry);
  }
  const auto read = ReadHistory(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(*read == history);
}

}  // namespace
}  // namespace adamant::testing
