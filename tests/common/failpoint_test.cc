// SPDX-License-Identifier: Apache-2.0
#include "common/failpoint.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/files.h"

namespace adamant {
namespace {

// The variable is read once per process, so each look at it happens in a process of its own, which
// exits with 0 when `body` holds.
template <typename Body>
void InProcess(const std::string& rules, int code, const std::string& stderr_text, Body body) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("ADAMANT_FAILPOINTS", rules.c_str(), 1);
        std::_Exit(body() ? 0 : 1);
      },
      ::testing::ExitedWithCode(code), stderr_text);
}

TEST(FailpointDeathTest, FiresAtTheHitsThatItsRuleNames) {
  InProcess("output.write=eio", 0, "", [] {
    return FailpointErrno("output.write") == EIO && FailpointErrno("output.write") == 0;
  });
  InProcess("output.write=enospc@2", 0, "", [] {
    return FailpointErrno("output.write") == 0 && FailpointErrno("output.write") == ENOSPC &&
           FailpointErrno("output.write") == 0;
  });
  InProcess("output.write=eintr@2+", 0, "", [] {
    return FailpointErrno("output.write") == 0 && FailpointErrno("output.write") == EINTR &&
           FailpointErrno("output.write") == EINTR;
  });
  InProcess("output.write=skip@*,upload.write=short_write", 0, "", [] {
    return FailpointErrno("output.write") == kSkip && FailpointErrno("output.write") == kSkip &&
           FailpointErrno("upload.write") == kShortWrite && FailpointErrno("upload.fsync") == 0;
  });
}

TEST(FailpointDeathTest, KillsItsProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("ADAMANT_FAILPOINTS", "spawn.before=kill", 1);
        ADAMANT_FAILPOINT("spawn.before");
        std::_Exit(0);
      },
      ::testing::KilledBySignal(SIGKILL), "");
}

TEST(FailpointDeathTest, GivesTheStatusOfItsAction) {
  InProcess("claim.before_commit=enospc,submit.before_commit=fail", 0, "", [] {
    return absl::IsResourceExhausted(FailpointStatus("claim.before_commit")) &&
           absl::IsInternal(FailpointStatus("submit.before_commit")) &&
           FailpointStatus("submit.before_commit").ok();
  });
}

TEST(FailpointDeathTest, RefusesAnUnknownNameAndAnUnknownAction) {
  const auto hit = [] { return FailpointErrno("output.write") == 0; };
  InProcess("output.wrote=eio", 2, "output.wrote=eio", hit);
  InProcess("output.write=explode", 2, "output.write=explode", hit);
  InProcess("output.write=eio@0", 2, "output.write=eio@0", hit);
}

TEST(FailpointDeathTest, WritesDownEachHitThatFires) {
  const std::string log = ::testing::TempDir() + "/failpoint_test.log";
  setenv("ADAMANT_FAILPOINT_LOG", log.c_str(), 1);
  InProcess("output.write=eio@2+", 0, "", [] {
    for (int i = 0; i < 3; ++i) FailpointErrno("output.write");
    return true;
  });
  unsetenv("ADAMANT_FAILPOINT_LOG");
  EXPECT_EQ(ReadFile(log).value_or("nothing"), "output.write eio\noutput.write eio\n");
  std::filesystem::remove(log);
}

TEST(Failpoint, HasEachNameOnce) {
  const std::set<absl::string_view> names(FailpointNames().begin(), FailpointNames().end());
  EXPECT_EQ(names.size(), FailpointNames().size());
  EXPECT_EQ(names.size(), 37u);
}

}  // namespace
}  // namespace adamant
