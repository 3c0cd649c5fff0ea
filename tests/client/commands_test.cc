// SPDX-License-Identifier: Apache-2.0
// The commands that read, steer and configure, and the forms of their output.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/complete.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "tests/client/cli_rig.h"

namespace adamant {
namespace {

using ::testing::ElementsAre;
using testing::ErrorWith;
using testing::FakeBlobs;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// The fields of one JSON object; a failed test when `text` is none.
google::protobuf::Struct Json(const std::string& text) {
  google::protobuf::Struct value;
  const auto status = google::protobuf::util::JsonStringToMessage(text, &value);
  EXPECT_TRUE(status.ok()) << text;
  return value;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

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

TEST_F(Cli, DrainAndUndrainSayTheState) {
  EXPECT_EQ(Run({"server", "drain", "--requeue"}), 2);
  EXPECT_EQ(Run({"server", "drain", "--requeue", "-y"}), 0) << err_.str();
  EXPECT_EQ(server_.system.drain.mode(), v1::DrainServerRequest::REQUEUE);
  EXPECT_THAT(out_.str(), HasSubstr("draining"));
  EXPECT_EQ(Run({"server", "undrain"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("serving"));
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

TEST_F(Cli, DebugPrintsTheTraceOfTheCalls) {
  server_.jobs.submit_status = ErrorWith(grpc::RESOURCE_EXHAUSTED, "full", "QUEUE_FULL");
  EXPECT_EQ(Run({"--debug", "train", "--model", "lenet", "--dataset", "mnist"}), 5);
  EXPECT_THAT(err_.str(), ::testing::ContainsRegex("debug: trace id [0-9a-f]{32}"));
}

TEST_F(Cli, ReportIsOnePageThatEscapesAndNeedsNothingFromOutside) {
  v1::Job& job = server_.jobs.job;
  job.set_kind(v1::ATTACK);
  job.mutable_options()->set_display_name("<script>alert(1)</script>");
  v1::AttackReport& report = *job.mutable_result()->mutable_attack();
  report.set_model_name("models/<b>net</b>");
  for (v1::Accuracy* accuracy :
       {report.mutable_clean_accuracy(), report.mutable_robust_accuracy()}) {
    accuracy->set_total(1000);
    accuracy->set_correct(920);
    accuracy->set_ratio(0.92);
    accuracy->set_low(0.9015);
    accuracy->set_high(0.9353);
  }
  report.add_attacks()->mutable_attack()->set_name("pgd");
  report.add_classes()->set_label(7);
  server_.jobs.points.resize(2);
  for (int i = 0; i < 2; ++i) {
    server_.jobs.points[i].set_name("robust_accuracy");
    server_.jobs.points[i].set_step(i);
    server_.jobs.points[i].set_value(0.5 * i);
  }
  v1::Artifact& picture = *job.add_artifacts();
  picture.set_media_type("image/png");
  picture.set_name("overlay.png");
  *picture.mutable_blob() = FakeBlobs::RefOf("png bytes");
  server_.blobs.Add("png bytes");
  const std::string path = Path("report.html");
  EXPECT_EQ(Run({"report", kJob, "--out", path, "--images"}), 0) << err_.str();
  const std::string html = *ReadFile(path);
  EXPECT_THAT(html, HasSubstr("92.00 %"));
  EXPECT_THAT(html, HasSubstr("95 % interval 90.15 to 93.53 %"));
  EXPECT_THAT(html, HasSubstr("<polyline"));
  EXPECT_THAT(html, HasSubstr("data:image/png;base64,cG5nIGJ5dGVz"));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("<b>net")));
  EXPECT_THAT(html, Not(HasSubstr("http://")));
  EXPECT_THAT(html, Not(HasSubstr("https://")));
  EXPECT_EQ(Run({"report", kJob, "--out", path}), 1);
  EXPECT_EQ(Run({"report", kJob, kJob, "--out", path, "--force"}), 0);
  job.set_state(v1::RUNNING);
  EXPECT_EQ(Run({"report", kJob, "--out", path, "--force"}), 6);
}

class Completion : public Cli {
 protected:
  Completion() {
    v1::PluginFamily& attacks = *server_.system.capabilities.add_families();
    attacks.set_name("attack");
    v1::PluginInfo& pgd = *attacks.add_plugins();
    pgd.set_name("pgd");
    pgd.add_params()->set_name("steps");
    pgd.add_params()->set_name("step_size");
    attacks.add_plugins()->set_name("apgd_ce");
    server_.jobs.listed.push_back(server_.jobs.job);
  }

  std::vector<std::string> Candidates(std::vector<std::string> words) {
    words.insert(words.begin(), {"__complete", "--"});
    EXPECT_EQ(Run(words), 0) << err_.str();
    return Lines(out_.str());
  }
};

TEST_F(Completion, OffersCommandsOptionsAndNamesOfTheServer) {
  EXPECT_THAT(Candidates({"jo"}), ElementsAre("job"));
  EXPECT_THAT(Candidates({"job", "re"}), ElementsAre("resume", "retry"));
  EXPECT_THAT(Candidates({"job", "logs", "--fo"}), ElementsAre("--follow"));
  EXPECT_THAT(Candidates({"job", "get", "abc"}), ElementsAre(kJob));
  EXPECT_THAT(Candidates({"job", "get", "x"}), ElementsAre());
  EXPECT_THAT(Candidates({"attack", "--attack", "p"}), ElementsAre("pgd"));
  EXPECT_THAT(Candidates({"attack", "--model", ""}), ElementsAre("net"));
  EXPECT_THAT(Candidates({"attack", "--dataset", ""}), ElementsAre("cifar10", "mnist", "shapes"));
  EXPECT_THAT(Candidates({"attack", "--attack", "pgd", "--param", "st"}),
              ElementsAre("step_size=", "steps="));
  EXPECT_THAT(Candidates({"model", "get", "n"}), ElementsAre("net"));
  EXPECT_THAT(Candidates({"plugins", "show", "apgd"}), ElementsAre("apgd_ce"));
  EXPECT_THAT(Candidates({"-o", "js"}), ElementsAre("json", "jsonl"));
  EXPECT_THAT(Candidates({"-o", "json", "ver"}), ElementsAre("version"));
}

TEST_F(Completion, AsksForTheCapabilitiesOnceAMinute) {
  Candidates({"attack", "--attack", "p"});
  Candidates({"attack", "--attack", "a"});
  EXPECT_EQ(server_.system.capability_calls, 1);
}

TEST_F(Completion, IsSilentWithoutAServer) {
  EXPECT_EQ(RunPlain({"--server", "127.0.0.1:1", "__complete", "--", "job", "get", ""}), 0);
  EXPECT_EQ(out_.str(), "");
  EXPECT_EQ(err_.str(), "");
}

// Runs the bash script with a stand-in for the program that says what it was asked.
TEST_F(Completion, BashPutsWordsTogetherThatItCutAtEqualSigns) {
  const std::string stub = Write("adamant",
                                 "#!/bin/sh\nshift 2\nprintf '%s\\n' \"$@\" > \"$0.asked\"\n"
                                 "echo steps=7\n");
  std::filesystem::permissions(stub, std::filesystem::perms::owner_all);
  const std::string script =
      Write("test.sh", absl::StrCat(CompletionScript("bash"), "COMP_WORDS=(", stub,
                                    " attack --param steps = 7)\nCOMP_CWORD=5\n_adamant\n",
                                    "printf '%s\\n' \"${COMPREPLY[@]}\"\n"));
  FILE* pipe = popen(absl::StrCat("bash ", script, " 2>&1").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  char buffer[256] = "";
  const size_t size = fread(buffer, 1, sizeof(buffer) - 1, pipe);
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(std::string(buffer, size), "7\n");
  EXPECT_EQ(*ReadFile(stub + ".asked"), "attack\n--param\nsteps=7\n");
}

}  // namespace
}  // namespace adamant
