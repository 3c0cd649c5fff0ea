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

TEST(ParseJobFilter, CombinesTermsByAnd) {
  const auto filter = ParseJobFilter(" state = RUNNING AND kind=TRAIN");
  ASSERT_TRUE(filter.ok()) << filter.status();
  v1::Job job;
  job.set_state(v1::RUNNING);
  job.set_kind(v1::TRAIN);
  EXPECT_TRUE((*filter)(job));
  job.set_kind(v1::ATTACK);
  EXPECT_FALSE((*filter)(job));
}

TEST(ParseJobFilter, MatchesAllWithoutTerms) { EXPECT_EQ(ParseJobFilter("").value(), nullptr); }

TEST(ParseJobFilter, RefusesEverythingElseWithThePosition) {
  const std::pair<const char*, const char*> cases[] = {
      {"state", "ends inside a term"},
      {"state =", "ends inside a term"},
      {"state = RUNING", "did you mean \"RUNNING\""},
      {"stat = RUNNING", "position 0"},
      {"state != RUNNING", "position 6"},
      {"state = RUNNING OR kind = TRAIN", "position 16"},
      {"state = RUNNING AND", "ends inside a term"},
      {"NOT state = RUNNING", "expected ="},
      {"state = JOB_STATE_UNSPECIFIED", "unknown state"},
  };
  for (const auto& [text, problem] : cases) {
    const auto filter = ParseJobFilter(text);
    EXPECT_EQ(ReasonOf(filter.status()), "BAD_FILTER") << text;
    EXPECT_THAT(std::string(filter.status().message()), ::testing::HasSubstr(problem)) << text;
  }
}

TEST(Crc32c, GivesTheCheckValueOfTheStandard) { EXPECT_EQ(Crc32c("123456789"), 0xE3069283u); }

}  // namespace
}  // namespace adamant
