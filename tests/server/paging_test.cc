// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error_reason.h"
#include "server/api/crc32c.h"
#include "server/api/job_filter.h"
#include "server/api/page_token.h"

namespace adamant {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1700000000);

TEST(PageTokens, GiveBackThePosition) {
  const PageTokens tokens(std::string(32, 'k'));
  const std::string token = tokens.Seal("12 abc", "ListJobs local", kNow);
  EXPECT_EQ(tokens.Open(token, "ListJobs local", kNow).value(), "12 abc");
  EXPECT_EQ(token.find_first_of("+/"), std::string::npos);
}

TEST(PageTokens, RefuseAnotherScopeAnotherKeyAndOldAge) {
  const PageTokens tokens(std::string(32, 'k'));
  const std::string token = tokens.Seal("12 abc", "ListJobs local", kNow);
  EXPECT_FALSE(tokens.Open(token, "ListJobs local state = RUNNING", kNow).ok());
  EXPECT_FALSE(tokens.Open(token, "ListJobs other", kNow).ok());
  EXPECT_FALSE(PageTokens(std::string(32, 'j')).Open(token, "ListJobs local", kNow).ok());
  EXPECT_TRUE(tokens.Open(token, "ListJobs local", kNow + absl::Hours(71)).ok());
  EXPECT_FALSE(tokens.Open(token, "ListJobs local", kNow + absl::Hours(73)).ok());
}

TEST(PageTokens, RefuseEveryChangedCharacter) {
  const PageTokens tokens(std::string(32, 'k'));
  const std::string token = tokens.Seal("12 abc", "s", kNow);
  for (size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    const auto opened = tokens.Open(changed, "s", kNow);
    // The last character may hold unused bits; then the token means the same.
    if (opened.ok()) {
      EXPECT_EQ(i, token.size() - 1);
      continue;
    }
    EXPECT_EQ(ReasonOf(opened.status()), "BAD_PAGE_TOKEN");
  }
}

TEST(PageSize, HasADefaultAndALimit) {
  EXPECT_EQ(PageSize(0).value(), 50);
  EXPECT_EQ(PageSize(7).value(), 7);
  EXPECT_EQ(PageSize(5000).value(), 1000);
  EXPECT_FALSE(PageSize(-1).ok());
}

v1::Job RunningTraining() {
  v1::Job job;
  job.set_name("jobs/a");
  job.set_state(v1::RUNNING);
  job.set_kind(v1::TRAIN);
  job.set_owner("ann");
  job.set_retry_of("jobs/b");
  job.mutable_create_time()->set_seconds(1700000000);  // 2023-11-14T22:13:20Z
  job.mutable_options()->set_request_id("one");
  (*job.mutable_options()->mutable_labels())["team"] = "vision";
  return job;
}

TEST(JobFilter, DecidesByEveryFieldAndOperator) {
  const std::pair<const char*, bool> cases[] = {
      {"", true},
      {" state = RUNNING AND kind=TRAIN", true},
      {"state = RUNNING AND kind = ATTACK", false},
      {"state != RUNNING", false},
      {"kind = ATTACK OR kind = TRAIN", true},
      {"kind = TRAIN OR state = QUEUED AND kind = ATTACK", true},  // AND binds tighter
      {"(kind = TRAIN OR state = QUEUED) AND kind = ATTACK", false},
      {"NOT kind = ATTACK", true},
      {"NOT (kind = TRAIN AND state = RUNNING)", false},
      {"reason = DRAIN", false},
      {"owner = ann", true},
      {"owner = \"ann\"", true},
      {"retry_of = jobs/b", true},
      {"request_id = one", true},
      {"request_id != one", false},
      {"label.team = vision", true},
      {"label.team != vision", false},
      {"label.other = vision", false},
      {"label.other != vision", true},
      {"label.\"team\" = vision", true},
      {"has(label.team)", true},
      {"has(label.other) OR NOT has(label.team)", false},
      {"create_time >= 2023-11-14T22:13:20Z", true},
      {"create_time > 2023-11-14T22:13:20Z", false},
      {"create_time < \"2023-11-15T00:00:00+01:00\"", true},
      {"end_time > 2000-01-01T00:00:00Z", false},
      {"end_time != 2000-01-01T00:00:00Z", true},
  };
  for (const auto& [text, expected] : cases) {
    const auto filter = JobFilter::Parse(text);
    ASSERT_TRUE(filter.ok()) << text << ": " << filter.status();
    EXPECT_EQ(filter->Matches(RunningTraining()), expected) << text;
  }
}

TEST(JobFilter, RefusesEverythingElseWithThePosition) {
  const std::string deep = "(((((((((kind = TRAIN)))))))))";
  const std::string eight = "((((((((kind = TRAIN))))))))";
  EXPECT_TRUE(JobFilter::Parse(eight).ok());
  const std::pair<std::string, const char*> cases[] = {
      {"state", "position 5: ends inside a term"},
      {"state =", "ends inside a term"},
      {"state = RUNING", "did you mean \"RUNNING\""},
      {"stat = RUNNING", "position 0"},
      {"state < RUNNING", "position 6: this field has no order"},
      {"state = RUNNING XOR kind = TRAIN", "position 16"},
      {"state = RUNNING AND", "ends inside a term"},
      {"(state = RUNNING", "ends inside a term"},
      {"state = RUNNING)", "position 15"},
      {"state = JOB_STATE_UNSPECIFIED", "unknown state"},
      {"create_time = yesterday", "position 14"},
      {"owner = \"ann", "position 8: a text without closing quote"},
      {"has(team)", "position 4: expected label.KEY"},
      {"owner ! ann", "position 6"},
      {deep, "nested deeper than 8"},
      {std::string(1025, ' '), "longer than 1024"},
  };
  for (const auto& [text, problem] : cases) {
    const auto filter = JobFilter::Parse(text);
    EXPECT_EQ(ReasonOf(filter.status()), "BAD_FILTER") << text;
    EXPECT_THAT(std::string(filter.status().message()), ::testing::HasSubstr(problem)) << text;
  }
}

TEST(Crc32c, GivesTheCheckValueOfTheStandard) { EXPECT_EQ(Crc32c("123456789"), 0xE3069283u); }

}  // namespace
}  // namespace adamant
