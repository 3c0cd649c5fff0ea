// SPDX-License-Identifier: Apache-2.0
#include "server/telemetry/log.h"

#include <gtest/gtest.h>

namespace adamant {
namespace {

TEST(JsonLine, EscapesWhatAClientSent) {
  const std::string line = JsonLine("2026-01-01T00:00:00Z", LogLevel::kInfo, "rpc", "o\"k\\\n",
                                    {{"name", "a\xff\tb"}, {"count", 3}, {"seconds", 0.5}});
  EXPECT_EQ(line,
            "{\"ts\":\"2026-01-01T00:00:00Z\",\"level\":\"info\",\"event\":\"rpc\","
            "\"message\":\"o\\\"k\\\\\\\\\\\\n\",\"name\":\"a\\\\xff\\\\tb\",\"count\":3,"
            "\"seconds\":0.5}");
}

TEST(TextLine, LeavesOutEmptyFieldsAndQuotesWords) {
  EXPECT_EQ(TextLine("worker", "exited",
                     {{"job", "jobs/a"}, {"reason", ""}, {"cause", "two words"}, {"seconds", 1.5}}),
            "worker   exited job=jobs/a cause=\"two words\" seconds=1.5");
}

TEST(TextLine, CannotBeBrokenByAClient) {
  EXPECT_EQ(TextLine("rpc", "first\nsecond", {{"peer", "a\x1b[31m"}}),
            "rpc      first\\nsecond peer=a\\x1b[31m");
}

TEST(LogField, CutsLongTexts) {
  EXPECT_EQ(LogField("name", std::string(5000, 'a')).value().size(), 200u);
}

TEST(SetUpLog, RefusesUnknownLevelsAndFormats) {
  EXPECT_FALSE(SetUpLog("loud", "text").ok());
  EXPECT_FALSE(SetUpLog("info", "xml").ok());
}

}  // namespace
}  // namespace adamant
