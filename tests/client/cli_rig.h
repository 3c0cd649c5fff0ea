// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "common/files.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "tests/support/fake_server.h"

namespace adamant {

// The fields of one JSON object; a failed test when `text` is none.
inline google::protobuf::Struct Json(const std::string& text) {
  google::protobuf::Struct value;
  const auto status = google::protobuf::util::JsonStringToMessage(text, &value);
  EXPECT_TRUE(status.ok()) << text;
  return value;
}

inline std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

// Runs the command line against a FakeServer, with config and cache folders of its own.
class Cli : public ::testing::Test {
 protected:
  static constexpr char kJob[] = "abcdefghijklmnopqrstuvwxyz";

  Cli() {
    folder_ = std::filesystem::path(::testing::TempDir()) / NewUuid();
    std::filesystem::create_directories(folder_);
    setenv("XDG_CONFIG_HOME", folder_.c_str(), 1);
    setenv("XDG_CACHE_HOME", folder_.c_str(), 1);
    for (const char* name : {"ADAMANT_SERVER", "ADAMANT_TOKEN_FILE", "ADAMANT_TLS_CA",
                             "ADAMANT_TLS_CERT", "ADAMANT_TLS_KEY"}) {
      unsetenv(name);
    }
    server_.jobs.job.set_name(std::string("jobs/") + kJob);
    server_.jobs.job.set_state(v1::SUCCEEDED);
    server_.models.models["models/net"].set_name("models/net");
    server_.datasets.datasets["datasets/mnist"].set_name("datasets/mnist");
    v1::PluginFamily& readers = *server_.system.capabilities.add_families();
    readers.set_name("dataset");
    readers.add_plugins()->set_name("shapes");
    readers.mutable_plugins(0)->add_traits("no_files");
    readers.add_plugins()->set_name("cifar10");
  }
  ~Cli() override { std::filesystem::remove_all(folder_); }

  int Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--server", server_.address});
    return RunPlain(arguments);
  }
  // Without --server.
  int RunPlain(const std::vector<std::string>& arguments) {
    out_.str("");
    err_.str("");
    return RunCli(arguments, {.out = out_, .err = err_, .in = in_}, nullptr);
  }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name), std::ios::binary) << text;
    return Path(name);
  }

  testing::FakeServer server_;
  std::ostringstream out_, err_;
  std::istream* in_ = nullptr;
  std::filesystem::path folder_;
};

}  // namespace adamant
