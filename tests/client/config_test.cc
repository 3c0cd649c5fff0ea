// SPDX-License-Identifier: Apache-2.0
// Contexts, and which server and credentials a command uses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/client/cli_rig.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

TEST_F(Cli, ContextsNameServersAndFlagsWinOverThem) {
  EXPECT_EQ(RunPlain({"config", "set", "lab", "server=" + server_.address}), 0) << err_.str();
  struct stat info{};
  ASSERT_EQ(stat(Path("adamant/config.yaml").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(RunPlain({"-v", "job", "get", kJob}), 0) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("server " + server_.address + " (context lab)"));
  EXPECT_EQ(RunPlain({"config", "set", "other", "server=127.0.0.1:1"}), 0);
  EXPECT_EQ(RunPlain({"config", "view", "-o", "json"}), 0);
  const auto data = Json(out_.str()).fields().at("data").struct_value().fields();
  EXPECT_EQ(data.at("current").string_value(), "lab");
  EXPECT_EQ(RunPlain({"config", "use", "other"}), 0);
  EXPECT_EQ(RunPlain({"--context", "lab", "job", "get", kJob}), 0) << err_.str();
  setenv("ADAMANT_SERVER", server_.address.c_str(), 1);
  EXPECT_EQ(RunPlain({"-v", "job", "get", kJob}), 0) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("(ADAMANT_SERVER)"));
  EXPECT_EQ(Run({"-v", "job", "get", kJob}), 0);
  EXPECT_THAT(err_.str(), HasSubstr("(--server)"));
  EXPECT_EQ(RunPlain({"--context", "lba", "job", "get", kJob}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean \"lab\"?"));
}

TEST_F(Cli, TokensOfAContextGoToItsOwnServerOnly) {
  const std::string token = Write("token", "adm_secret");
  EXPECT_EQ(RunPlain({"config", "set", "lab", "server=127.0.0.1:1", "token_file=" + token}), 0);
  EXPECT_EQ(Run({"job", "get", kJob}), 0) << err_.str();
  EXPECT_EQ(server_.jobs.authorization, "");
  EXPECT_EQ(RunPlain({"config", "set", "lab", "server=" + server_.address}), 0);
  EXPECT_EQ(RunPlain({"job", "get", kJob}), 0) << err_.str();
  EXPECT_EQ(server_.jobs.authorization, "Bearer adm_secret");
  EXPECT_EQ(RunPlain({"config", "set", "lab", "token=adm_secret"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("secrets never stand on the command line"));
  EXPECT_EQ(RunPlain({"config", "set", "lab", "sever=x:1"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean \"server\"?"));
}

TEST_F(Cli, BrokenConfigFilesAreNamedWithTheirLine) {
  std::filesystem::create_directories(Path("adamant"));
  Write("adamant/config.yaml", "current: lab\ncontexts: {lab: {serve: x}}\n");
  EXPECT_EQ(RunPlain({"job", "list"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("config.yaml"));
  EXPECT_THAT(err_.str(), HasSubstr("did you mean \"server\"?"));
  EXPECT_EQ(RunPlain({"help"}), 0);
}

}  // namespace
}  // namespace adamant
