// SPDX-License-Identifier: Apache-2.0
// The commands that list, steer and read jobs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/client/cli_rig.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST_F(Cli, ListTurnsItsOptionsIntoAFilter) {
  EXPECT_EQ(Run({"job", "list", "--state", "running,paused", "--kind", "attack", "--label",
                 "team=a \"b\"", "--label", "old", "--filter", "reason = TIMEOUT"}),
            0)
      << err_.str();
  EXPECT_EQ(server_.jobs.list.filter(),
            "(reason = TIMEOUT) AND (state = RUNNING OR state = PAUSED) AND kind = ATTACK AND "
            "label.team = \"a \\\"b\\\"\" AND has(label.old)");
  EXPECT_EQ(Run({"job", "list", "--state", "runing"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean \"running\"?"));
}

TEST_F(Cli, StateVerbsCallTheServer) {
  for (const char* verb : {"cancel", "pause", "resume"}) {
    EXPECT_EQ(Run({"job", verb, kJob}), 0) << err_.str();
    EXPECT_EQ(server_.jobs.verbs.back(), absl::StrCat(verb, " jobs/", kJob));
  }
}

TEST_F(Cli, RetryPassesItsOptionsAndPrintsTheNewName) {
  EXPECT_EQ(
      Run({"job", "retry", kJob, "--priority", "5", "--max-run-time", "2h", "--start-paused"}), 0)
      << err_.str();
  EXPECT_EQ(out_.str(), absl::StrCat("jobs/", kJob, "\n"));
  EXPECT_EQ(server_.jobs.retry.options().priority(), 5);
  EXPECT_EQ(server_.jobs.retry.options().max_run_time().seconds(), 7200);
  EXPECT_TRUE(server_.jobs.retry.options().start_paused());
}

TEST_F(Cli, DeletingAsksAndNeedsYesWhereNobodyCanBeAsked) {
  EXPECT_EQ(Run({"job", "delete", kJob}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--yes"));
  std::istringstream no("n\n"), yes("y\n"), unread("y\n");
  in_ = &no;
  EXPECT_EQ(Run({"job", "delete", kJob}), 1);
  in_ = &unread;
  EXPECT_EQ(Run({"--no-input", "job", "delete", kJob}), 2);
  EXPECT_TRUE(server_.jobs.verbs.empty());
  in_ = &yes;
  EXPECT_EQ(Run({"job", "delete", kJob}), 0);
  in_ = nullptr;
  EXPECT_EQ(Run({"job", "delete", kJob, "--yes"}), 0);
  EXPECT_EQ(server_.jobs.verbs.size(), 2u);
}

TEST_F(Cli, LogsSayWhatWasCut) {
  server_.jobs.log = "one\ntwo\nthree\n";
  EXPECT_EQ(Run({"job", "logs", kJob, "--tail", "2"}), 0);
  EXPECT_EQ(out_.str(), "two\nthree\n");
  EXPECT_THAT(err_.str(), HasSubstr("cut: 4 B before the first line shown; --tail 0 shows all"));
  EXPECT_EQ(Run({"job", "logs", kJob, "-o", "jsonl"}), 0);
  const auto lines = Lines(out_.str());
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[1], "{\"offset\":4,\"line\":\"two\"}");
  EXPECT_TRUE(Json(lines[3]).fields().at("terminal").bool_value());
  EXPECT_EQ(Run({"job", "logs", kJob, "--tail", "2", "--offset", "1"}), 2);
}

TEST_F(Cli, FollowedLogsExitAsTheJobDid) {
  server_.jobs.log = "line\n";
  EXPECT_EQ(Run({"job", "logs", kJob, "--follow"}), 0);
  server_.jobs.job.set_state(v1::FAILED);
  EXPECT_EQ(Run({"job", "logs", kJob, "--follow"}), 1);
  EXPECT_EQ(Run({"job", "logs", kJob}), 0);
  server_.jobs.job.set_state(v1::RUNNING);
  EXPECT_NE(Run({"job", "logs", kJob, "--follow"}), 0);
}

TEST_F(Cli, MetricsAreATableCsvOrJson) {
  for (int step = 1; step <= 100; ++step) {
    v1::MetricPoint& point = server_.jobs.points.emplace_back();
    point.set_name("loss");
    point.set_step(step);
    point.set_attempt(1);
    point.set_value(1.0 / step);
  }
  EXPECT_EQ(Run({"job", "metrics", kJob, "--max-points", "3"}), 0) << err_.str();
  EXPECT_EQ(out_.str(),
            "ATTEMPT  STEP     loss\n"
            "      1     1        1\n"
            "      1    51  0.01961\n"
            "      1   100     0.01\n");
  EXPECT_THAT(err_.str(), HasSubstr("3 of 100 steps"));
  EXPECT_EQ(Run({"job", "metrics", kJob, "--csv", "--name", "loss"}), 0);
  EXPECT_THAT(out_.str(), StartsWith("attempt,step,name,value\n1,1,loss,1\n1,2,loss,0.5\n"));
  EXPECT_EQ(server_.jobs.metric_pages.back().names(0), "loss");
  EXPECT_EQ(Run({"job", "metrics", kJob, "-o", "jsonl"}), 0);
  EXPECT_EQ(Lines(out_.str()).size(), 101u);
}

}  // namespace
}  // namespace adamant
