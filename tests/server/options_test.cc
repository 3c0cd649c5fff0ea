// SPDX-License-Identifier: Apache-2.0
#include "server/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <vector>

#include "common/error_reason.h"
#include "tests/support/temporary_folder.h"

namespace adamant {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<Options> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "adamantd");
  return ParseOptions(static_cast<int>(arguments.size()), arguments.data());
}

struct BindCase {
  const char* address;
  const char* reason;  // "ok", "" for a malformed address
};

TEST(CheckListenAddress, AllowsLoopbackAndUnixSocketsOnly) {
  const BindCase cases[] = {
      {"127.0.0.1:50061", "ok"},
      {"127.8.9.1:1", "ok"},
      {"localhost:0", "ok"},
      {"[::1]:50061", "ok"},
      {"unix:/run/a.sock", "ok"},
      {"unix:relative", "ok"},
      {"0.0.0.0:50061", "PUBLIC_WITHOUT_TLS"},
      {"[::]:50061", "PUBLIC_WITHOUT_TLS"},
      {"192.168.1.4:50061", "PUBLIC_WITHOUT_TLS"},
      {"example.org:50061", "PUBLIC_WITHOUT_TLS"},
      {"[::ffff:10.0.0.1]:1", "PUBLIC_WITHOUT_TLS"},
      {"128.0.0.1:1", "PUBLIC_WITHOUT_TLS"},
      {"127.0.0.1", ""},
      {"127.0.0.1:", ""},
      {"127.0.0.1:70000", ""},
      {"127.0.0.1:-1", ""},
      {"unix:", ""},
      {"", ""},
  };
  for (const BindCase& row : cases) {
    const absl::Status status = CheckListenAddress(row.address);
    EXPECT_EQ(status.ok() ? "ok" : ReasonOf(status), row.reason) << row.address;
  }
}

TEST(ParseOptions, FillsEveryDefault) {
  const auto options = Parse({"--data-dir", "d"});
  ASSERT_TRUE(options.ok()) << options.status();
  const v1::ServerConfig& config = options->config;
  EXPECT_EQ(config.listen(0), "127.0.0.1:50061");
  EXPECT_EQ(config.metrics_address(), "127.0.0.1:9461");
  EXPECT_EQ(config.cpu_slots(), 1);
  EXPECT_GE(config.threads_per_slot(), 1);
  EXPECT_EQ(config.warm_spares(), 1);
  EXPECT_EQ(config.drain_delay_seconds(), 5);
  EXPECT_EQ(config.drain_grace_seconds(), 15);
  EXPECT_EQ(config.torchscript(), "auto");
  EXPECT_THAT(config.worker(), HasSubstr("adamant-worker"));
}

TEST(ParseOptions, LetsFlagsOverrideTheFile) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/server.txtpb";
  std::ofstream(path) << "data_dir: 'from-file' listen: '127.0.0.1:1' cpu_slots: 3 warm_spares: 0";
  const auto options = Parse({"--config", path.c_str(), "--listen", "unix:/x", "--listen",
                              "127.0.0.1:2", "--drain-delay", "0"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config.data_dir(), "from-file");
  ASSERT_EQ(options->config.listen_size(), 2);
  EXPECT_EQ(options->config.listen(1), "127.0.0.1:2");
  EXPECT_EQ(options->config.cpu_slots(), 3);
  EXPECT_EQ(options->config.warm_spares(), 0);
  EXPECT_EQ(options->config.drain_delay_seconds(), 0);
}

TEST(ParseOptions, RefusesUnknownFieldsWithTheirPlace) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.path() + "/server.txtpb";
  std::ofstream(path) << "data_dir: 'd'\nlisten_adress: 'x'";
  const auto options = Parse({"--config", path.c_str()});
  EXPECT_EQ(options.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(options.status().message()), HasSubstr("line 2"));
  EXPECT_THAT(std::string(options.status().message()), HasSubstr("listen_adress"));
}

TEST(ParseOptions, SaysWhatIsWrong) {
  const std::pair<std::vector<const char*>, const char*> cases[] = {
      {{}, "--data-dir is required"},
      {{"--data-dir", "d", "--cpu-slots", "0"}, "--cpu-slots"},
      {{"--data-dir", "d", "--torchscript", "on"}, "auto or off"},
      {{"--data-dir", "d", "--frobnicate"}, "--frobnicate"},
      {{"--data-dir", "d", "--listen", "0.0.0.0:1"}, "PUBLIC_WITHOUT_TLS"},
      {{"--config", "/nowhere/at/all"}, "/nowhere/at/all"},
  };
  for (const auto& [arguments, text] : cases) {
    const auto options = Parse(arguments);
    EXPECT_EQ(options.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(options.status().message()), HasSubstr(text));
  }
}

TEST(ParseOptions, RecognisesTheModesThatDoNotServe) {
  EXPECT_EQ(Parse({"--version"})->action, Options::Action::kVersion);
  EXPECT_EQ(Parse({"--help"})->action, Options::Action::kHelp);
  EXPECT_EQ(Parse({"--data-dir", "d", "--check"})->action, Options::Action::kCheck);
  EXPECT_EQ(Parse({"--data-dir", "d", "--print-config"})->action, Options::Action::kPrintConfig);
}

}  // namespace
}  // namespace adamant
