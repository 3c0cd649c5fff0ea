// SPDX-License-Identifier: Apache-2.0
// What holds for every command: schema, help, forms of the output, errors, options of submits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/client/cli_rig.h"

namespace adamant {
namespace {

using testing::ErrorWith;
using testing::FakeBlobs;
using ::testing::HasSubstr;

void CheckSchema(const google::protobuf::Struct& schema, std::vector<std::string>& commands) {
  EXPECT_TRUE(schema.fields().contains("arguments"));
  const std::string name = schema.fields().at("command").string_value();
  EXPECT_FALSE(schema.fields().at("summary").string_value().empty()) << name;
  if (schema.fields().contains("mutating")) commands.push_back(name);
  if (!schema.fields().contains("commands")) return;
  for (const auto& sub : schema.fields().at("commands").list_value().values()) {
    CheckSchema(sub.struct_value(), commands);
  }
}

TEST_F(Cli, SchemaDescribesEveryCommandEvenWithoutItsRequiredArguments) {
  ASSERT_EQ(Run({"--schema"}), 0);
  std::vector<std::string> commands;
  CheckSchema(Json(out_.str()), commands);
  for (const char* command :
       {"adamant train",       "adamant job list",     "adamant job get",
        "adamant job watch",   "adamant job wait",     "adamant job logs",
        "adamant job metrics", "adamant job cancel",   "adamant job pause",
        "adamant job resume",  "adamant job retry",    "adamant job delete",
        "adamant blob put",    "adamant server drain", "adamant server undrain",
        "adamant config set",  "adamant config use",   "adamant config view",
        "adamant report",      "adamant completion",   "adamant version",
        "adamant help"}) {
    EXPECT_THAT(commands, ::testing::Contains(command));
  }
  ASSERT_EQ(Run({"job", "delete", "--schema"}), 0);
  const auto fields = Json(out_.str()).fields();
  EXPECT_TRUE(fields.at("mutating").bool_value());
  EXPECT_TRUE(fields.at("idempotent").bool_value());
  EXPECT_TRUE(fields.at("destructive").bool_value());
  const auto& job = fields.at("arguments").list_value().values(0).struct_value().fields();
  EXPECT_EQ(job.at("name").string_value(), "JOB");
  EXPECT_TRUE(job.at("required").bool_value());
}

TEST_F(Cli, EveryCommandHasAnExampleInItsHelp) {
  ASSERT_EQ(Run({"--schema"}), 0);
  std::vector<std::string> commands;
  CheckSchema(Json(out_.str()), commands);
  for (const std::string& command : commands) {
    std::vector<std::string> words = absl::StrSplit(command, ' ');
    words.erase(words.begin());
    words.push_back("--help");
    EXPECT_EQ(Run(words), 0);
    EXPECT_THAT(out_.str(), HasSubstr("Example")) << command;
    EXPECT_THAT(out_.str(), HasSubstr(command)) << command;
  }
}

TEST_F(Cli, ErrorsKeepTheEnvelopeAndJsonLinesEndWithATerminalLine) {
  EXPECT_EQ(Run({"-o", "json", "job", "get", "abc"}), 2);
  EXPECT_EQ(Json(out_.str()).fields().at("error_code").string_value(), "USAGE");
  EXPECT_EQ(Run({"-o", "jsonl", "job", "lsit"}), 2);
  EXPECT_TRUE(Json(out_.str()).fields().at("terminal").bool_value());
  EXPECT_THAT(err_.str(), HasSubstr("did you mean \"list\"?"));
  server_.jobs.listed = {server_.jobs.job, server_.jobs.job};
  EXPECT_EQ(Run({"-o", "jsonl", "job", "list"}), 0);
  const auto lines = Lines(out_.str());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(Json(lines[0]).fields().at("state").string_value(), "SUCCEEDED");
  EXPECT_TRUE(Json(lines[2]).fields().at("terminal").bool_value());
}

TEST_F(Cli, WatchThatFailsEndsItsJsonLinesWithTheError) {
  server_.jobs.watches = {{{}, ErrorWith(grpc::NOT_FOUND, "no such job", "JOB_NOT_FOUND")}};
  EXPECT_EQ(Run({"-o", "jsonl", "job", "watch", kJob}), 6);
  const auto last = Json(Lines(out_.str()).back()).fields();
  EXPECT_TRUE(last.at("terminal").bool_value());
  EXPECT_EQ(last.at("error_code").string_value(), "JOB_NOT_FOUND");
}

TEST_F(Cli, GrpcExitCodesStandInForOurs) {
  server_.jobs.watches = {{{}, ErrorWith(grpc::NOT_FOUND, "no such job", "JOB_NOT_FOUND")}};
  EXPECT_EQ(Run({"--grpc-exit-codes", "job", "watch", kJob}), 69);
  EXPECT_EQ(Run({"--grpc-exit-codes", "job", "get", "abc"}), 2);
}

TEST_F(Cli, DrainAndUndrainSayTheState) {
  EXPECT_EQ(Run({"server", "drain", "--requeue"}), 2);
  EXPECT_EQ(Run({"server", "drain", "--requeue", "-y"}), 0) << err_.str();
  EXPECT_EQ(server_.system.drain.mode(), v1::DrainServerRequest::REQUEUE);
  EXPECT_THAT(out_.str(), HasSubstr("draining"));
  EXPECT_EQ(Run({"server", "undrain"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("serving"));
}

TEST_F(Cli, SubmitOptionsReachTheServer) {
  EXPECT_EQ(Run({"train", "--model", "lenet", "--dataset", "mnist", "--priority", "-3",
                 "--queue-timeout", "1d", "--retention", "90d", "--display-name", "a run",
                 "--max-attempts", "1", "--request-id", "3f2b8a52-9a3e-4f0e-8d5c-000000000001"}),
            0)
      << err_.str();
  const v1::SubmitOptions& options = server_.jobs.train.options();
  EXPECT_EQ(options.priority(), -3);
  EXPECT_EQ(options.queue_timeout().seconds(), 86400);
  EXPECT_EQ(options.retention().seconds(), 90 * 86400);
  EXPECT_EQ(options.display_name(), "a run");
  EXPECT_EQ(options.retry_policy().max_attempts(), 1);
  EXPECT_EQ(options.request_id(), "3f2b8a52-9a3e-4f0e-8d5c-000000000001");
  EXPECT_EQ(Run({"train", "--model", "lenet", "--dataset", "mnist", "--max-run-time", "soon"}), 2);
}

TEST_F(Cli, FilesNamedInASpecAreUploadedFirst) {
  Write("net.bin", "weights");
  const std::string spec =
      Write("spec.yaml",
            "model: {weights: {blob: net.bin}}\ndata: {dataset: datasets/mnist}"
            "\nattacks: [{attack: {name: pgd}}]\n");
  EXPECT_EQ(Run({"attack", "-f", spec}), 0) << err_.str();
  const v1::BlobRef blob = FakeBlobs::RefOf("weights");
  EXPECT_EQ(server_.jobs.attack.spec().model().weights().blob().sha256(), blob.sha256());
  EXPECT_EQ(server_.blobs.blobs.at(BlobName(blob)), "weights");
  const std::string text =
      Write("spec.textproto", "model { weights { blob { sha256: \"file:net.bin\" } } }\n");
  EXPECT_EQ(Run({"attack", "-f", text}), 0) << err_.str();
  EXPECT_EQ(server_.jobs.attack.spec().model().weights().blob().size_bytes(), 7);
  Write("cat.png", "pixels");
  const std::string explain =
      Write("explain.yaml", "model: {model: models/net}\nimages: [cat.png]\n");
  EXPECT_EQ(Run({"explain", "-f", explain}), 0) << err_.str();
  EXPECT_EQ(server_.jobs.explain.spec().images(0).data(), "pixels");
  EXPECT_EQ(server_.jobs.explain.spec().images(0).name(), "cat.png");
  EXPECT_EQ(Run({"attack", "-f", spec, "--set", "model.weights.blob=absent.bin"}), 1);
  EXPECT_THAT(err_.str(), HasSubstr("absent.bin"));
  EXPECT_EQ(
      Run({"attack", "-f", spec, "--set", absl::StrCat("model.weights.blob=", BlobName(blob))}), 0)
      << err_.str();
}

TEST_F(Cli, TransfersSayTheDigestAndRefuseToOverwrite) {
  const std::string path = Write("file", "some bytes");
  EXPECT_EQ(Run({"blob", "put", path}), 0) << err_.str();
  const v1::BlobRef blob = FakeBlobs::RefOf("some bytes");
  EXPECT_EQ(out_.str(), BlobName(blob) + "\n");
  EXPECT_THAT(err_.str(), HasSubstr("sha256 " + blob.sha256()));
  EXPECT_EQ(Run({"blob", "put", path}), 0);
  EXPECT_THAT(err_.str(), HasSubstr("the server has it already"));
  EXPECT_EQ(Run({"blob", "get", BlobName(blob), path}), 1);
  EXPECT_THAT(err_.str(), HasSubstr("--force"));
  EXPECT_EQ(Run({"blob", "get", BlobName(blob), path, "--force"}), 0) << err_.str();
  EXPECT_EQ(Run({"blob", "stat", BlobName(FakeBlobs::RefOf("absent"))}), 6);
}

TEST_F(Cli, DebugPrintsTheTraceOfTheCalls) {
  server_.jobs.submit_status = ErrorWith(grpc::RESOURCE_EXHAUSTED, "full", "QUEUE_FULL");
  EXPECT_EQ(Run({"--debug", "train", "--model", "lenet", "--dataset", "mnist"}), 5);
  EXPECT_THAT(err_.str(), ::testing::ContainsRegex("debug: trace id [0-9a-f]{32}"));
}

}  // namespace
}  // namespace adamant
