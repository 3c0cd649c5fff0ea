// SPDX-License-Identifier: Apache-2.0
// The command line from its arguments to the request that arrives at the server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "client/cli/names.h"
#include "tests/client/cli_rig.h"

namespace adamant {
namespace {

using testing::ErrorWith;
using ::testing::HasSubstr;

TEST_F(Cli, TrainBuildsTheSpecAndPrintsTheNameOnly) {
  EXPECT_EQ(Run({"train",
                 "--model",
                 "mnist_cnn",
                 "--param",
                 "kind=advertorch",
                 "--dataset",
                 "mnist",
                 "--objective",
                 "pgd_at",
                 "--attack",
                 "pgd",
                 "--param",
                 "steps=7",
                 "--norm",
                 "linf",
                 "--epsilon",
                 "8/255",
                 "--epochs",
                 "5",
                 "--lr",
                 "1e-4",
                 "--optimizer",
                 "adam",
                 "--limit",
                 "100",
                 "--eval-attack",
                 "pgd",
                 "--param",
                 "steps=40",
                 "--register-as",
                 "robust",
                 "--seed",
                 "3"}),
            0)
      << err_.str();
  EXPECT_EQ(out_.str(), "jobs/abcdefghijklmnopqrstuvwxyz\n");
  const v1::TrainSpec& spec = server_.jobs.train.spec();
  EXPECT_EQ(spec.model().architecture().name(), "mnist_cnn");
  EXPECT_EQ(spec.model().architecture().params().fields().at("kind").string_value(), "advertorch");
  EXPECT_EQ(spec.train().dataset(), "datasets/mnist");
  EXPECT_EQ(spec.train().end(), 100);
  EXPECT_EQ(spec.attack().params().fields().at("steps").number_value(), 7);
  EXPECT_EQ(spec.threat().epsilon_text(), "8/255");
  EXPECT_EQ(spec.epochs(), 5);
  EXPECT_EQ(spec.optimizer().kind(), v1::Optimizer::ADAM);
  EXPECT_EQ(spec.evaluation().attacks(0).attack().params().fields().at("steps").number_value(), 40);
  EXPECT_EQ(spec.evaluation().attacks(0).threat().norm(), v1::LINF);
  EXPECT_EQ(spec.register_as(), "robust");
  EXPECT_EQ(spec.seed(), 3u);
}

TEST_F(Cli, AttackTakesARegisteredModelAndABuiltinReader) {
  EXPECT_EQ(Run({"attack",  "--model",    "net",           "--dataset", "shapes", "--param",
                 "size=32", "--samples",  "1000",          "--attack",  "fgsm",   "--attack",
                 "pgd",     "--param",    "steps=40",      "--norm",    "linf",   "--epsilon",
                 "0.3",     "--analysis", "epsilon_sweep", "--wait"}),
            0)
      << err_.str();
  const v1::AttackSpec& spec = server_.jobs.attack.spec();
  EXPECT_EQ(spec.model().model(), "models/net");
  EXPECT_EQ(spec.data().builtin().name(), "shapes");
  EXPECT_EQ(spec.data().end(), 1000);
  ASSERT_EQ(spec.attacks_size(), 2);
  EXPECT_EQ(spec.attacks(0).attack().name(), "fgsm");
  EXPECT_EQ(spec.attacks(1).threat().epsilon(), 0.3);
  EXPECT_EQ(spec.analyses(0).name(), "epsilon_sweep");
  EXPECT_THAT(out_.str(), HasSubstr("SUCCEEDED"));
}

TEST_F(Cli, AParameterBelongsToThePluginBeforeItWhateverStandsBetween) {
  EXPECT_EQ(
      Run({"attack", "--model", "net", "--dataset", "shapes", "--attack", "pgd", "--epsilon", "0.3",
           "--norm", "linf", "--seed", "4", "--set", "depth=full", "--param", "steps=7"}),
      0)
      << err_.str();
  const v1::PluginSpec& attack = server_.jobs.attack.spec().attacks(0).attack();
  EXPECT_EQ(attack.params().fields().at("steps").number_value(), 7);
}

TEST_F(Cli, WithoutANamedAttackTheStrongestOfItsNormRuns) {
  const auto attack = [&](const std::string& norm) {
    EXPECT_EQ(Run({"attack", "--model", "net", "--dataset", "shapes", "--epsilon", "0.3", "--norm",
                   norm}),
              0)
        << err_.str();
    EXPECT_EQ(server_.jobs.attack.spec().attacks_size(), 1);
    EXPECT_EQ(server_.jobs.attack.spec().attacks(0).threat().epsilon(), 0.3);
    return server_.jobs.attack.spec().attacks(0).attack().name();
  };
  EXPECT_EQ(attack("linf"), "portfolio");
  EXPECT_EQ(attack("l2"), "autoattack");
}

TEST_F(Cli, ExplainSendsImageFiles) {
  const std::string path = ::testing::TempDir() + NewUuid() + ".png";
  std::ofstream(path) << "png bytes";
  EXPECT_EQ(Run({"explain", path, "--model", "net", "--explainer", "grad_cam", "--layer", "conv2",
                 "--class", "3", "--resize", "letterbox"}),
            0)
      << err_.str();
  const v1::ExplainSpec& spec = server_.jobs.explain.spec();
  EXPECT_EQ(spec.images(0).data(), "png bytes");
  EXPECT_EQ(spec.target(), v1::GIVEN);
  EXPECT_EQ(spec.class_index(), 3);
  EXPECT_EQ(spec.layers(0), "conv2");
  EXPECT_EQ(spec.preprocess().resize(), v1::Preprocess::LETTERBOX);
  std::ofstream(path) << std::string((1 << 20) + 1, 'x');
  EXPECT_EQ(Run({"explain", path, "--model", "net"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("adamant dataset add"));
  std::filesystem::remove(path);
}

TEST_F(Cli, ExplainWithAnAttackAsksForPairs) {
  EXPECT_EQ(Run({"explain", "--model", "net", "--dataset", "shapes", "--attack", "pgd", "--param",
                 "steps=5", "--epsilon", "8/255"}),
            0)
      << err_.str();
  const v1::ExplainAttack& attack = server_.jobs.explain.spec().attack();
  EXPECT_EQ(attack.attack().name(), "pgd");
  EXPECT_EQ(attack.attack().params().fields().at("steps").number_value(), 5);
  EXPECT_EQ(attack.threat().norm(), v1::LINF);
  EXPECT_EQ(attack.threat().epsilon_text(), "8/255");
}

TEST_F(Cli, OptionsOverrideTheSpecFileAndSetOverridesBoth) {
  const std::string path = ::testing::TempDir() + NewUuid() + ".yaml";
  std::ofstream(path) << "model: {model: models/net}\nepochs: 1\nbatch_size: 64\nseed: 5\n";
  EXPECT_EQ(Run({"train", "-f", path, "--epochs", "2", "--set", "seed=9"}), 0) << err_.str();
  EXPECT_EQ(server_.jobs.train.spec().epochs(), 2);
  EXPECT_EQ(server_.jobs.train.spec().batch_size(), 64);
  EXPECT_EQ(server_.jobs.train.spec().seed(), 9u);
  std::filesystem::remove(path);
}

TEST_F(Cli, UnknownNamesGetTheNearest) {
  EXPECT_EQ(Run({"attack", "--model", "nte", "--dataset", "mnist", "--attack", "pgd"}), 6);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean \"net\"?"));
  EXPECT_EQ(Run({"train", "--model", "lenet", "--dataset", "shaeps"}), 6);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean \"shapes\"?"));
  EXPECT_EQ(Run({"train", "--model", "lenet", "--dataset", "cifar10"}), 6);
  EXPECT_THAT(err_.str(), HasSubstr("adamant dataset add"));
  EXPECT_EQ(Run({"trian"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean \"train\"?"));
  EXPECT_EQ(Run({"train", "--modle", "net"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean --model?"));
}

TEST_F(Cli, RefusalsOfTheServerListEveryViolation) {
  server_.jobs.submit_status = ErrorWith(grpc::INVALID_ARGUMENT, "2 fields are wrong",
                                         "BAD_PARAMETER", {{"a", "first"}, {"b", "second"}});
  EXPECT_EQ(Run({"-o", "json", "train", "--model", "lenet", "--dataset", "mnist"}), 6);
  EXPECT_THAT(err_.str(), HasSubstr("- a: first\n       - b: second\n"));
  EXPECT_THAT(out_.str(), HasSubstr("\"error_code\":\"BAD_PARAMETER\""));
}

TEST_F(Cli, FailedJobsGiveExitCodeOne) {
  server_.jobs.job.set_state(v1::FAILED);
  EXPECT_EQ(Run({"job", "wait", "abcdefghijklmnopqrstuvwxyz"}), 1);
  EXPECT_EQ(Run({"job", "get", "abcdefghijklmnopqrstuvwxyz"}), 0);
}

TEST_F(Cli, WaitWritesTheJobOnceInEveryJsonForm) {
  for (const char* format : {"json", "jsonl"}) {
    EXPECT_EQ(Run({"job", "wait", "abcdefghijklmnopqrstuvwxyz", "-o", format}), 0);
    EXPECT_THAT(out_.str(), HasSubstr("\"state\":\"SUCCEEDED\"")) << format;
  }
}

TEST_F(Cli, JobsAreFoundByAUniquePrefix) {
  for (const char* name : {"jobs/abcdefghijklmnopqrstuvwxyz", "jobs/abcdxxxxxxxxxxxxxxxxxxxxxx"}) {
    v1::Job job;
    job.set_name(name);
    server_.jobs.listed.push_back(job);
  }
  EXPECT_EQ(Run({"job", "get", "abcde"}), 0) << err_.str();
  EXPECT_EQ(Run({"job", "get", "abcd"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("fits 2 jobs"));
  EXPECT_EQ(Run({"job", "get", "zzzz"}), 6);
  EXPECT_EQ(Run({"job", "get", "abc"}), 2);
}

TEST_F(Cli, WatchWritesEventsAsJsonLinesUntilTheTerminalOne) {
  v1::JobEvent event;
  event.set_type(v1::STATE);
  event.set_seq(1);
  event.set_terminal(true);
  event.mutable_state()->set_to(v1::SUCCEEDED);
  server_.jobs.watches = {{{event}, grpc::Status::OK}};
  EXPECT_EQ(Run({"job", "watch", "abcdefghijklmnopqrstuvwxyz", "-o", "jsonl"}), 0) << err_.str();
  const std::string lines = out_.str();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 1);
  EXPECT_THAT(out_.str(), HasSubstr("\"terminal\":true"));
}

TEST_F(Cli, ModelAddUploadsRegistersAndReportsARejection) {
  const std::string path = ::testing::TempDir() + NewUuid();
  std::ofstream(path) << "weights";
  server_.models.answer.set_name("models/new-net");
  server_.models.answer.set_state(v1::VALIDATING);
  server_.models.models["models/new-net"] = server_.models.answer;
  server_.models.models["models/new-net"].set_state(v1::READY);
  EXPECT_EQ(Run({"model", "add", "new-net", path, "--architecture", "mnist_cnn", "--param",
                 "kind=advertorch", "-o", "name"}),
            0)
      << err_.str();
  EXPECT_EQ(out_.str(), "models/new-net\n");
  EXPECT_EQ(server_.models.registered.id(), "new-net");
  EXPECT_EQ(server_.models.registered.architecture().params().fields().at("kind").string_value(),
            "advertorch");
  server_.models.models["models/new-net"].set_state(v1::REJECTED);
  server_.models.models["models/new-net"].set_state_message("tensor conv9 is unknown");
  EXPECT_EQ(Run({"model", "add", "new-net", path}), 6);
  EXPECT_THAT(err_.str(), HasSubstr("tensor conv9 is unknown"));
  std::filesystem::remove(path);
}

TEST_F(Cli, SaveRefusesArtifactNamesThatLeaveTheFolder) {
  v1::Artifact& artifact = *server_.jobs.job.add_artifacts();
  artifact.set_name("../outside");
  *artifact.mutable_blob() = testing::FakeBlobs::RefOf("bytes");
  server_.blobs.Add("bytes");
  const std::string folder = ::testing::TempDir() + NewUuid();
  EXPECT_EQ(Run({"job", "get", "abcdefghijklmnopqrstuvwxyz", "--save", folder}), 1);
  artifact.set_name("maps/inside.png");
  EXPECT_EQ(Run({"job", "get", "abcdefghijklmnopqrstuvwxyz", "--save", folder}), 0) << err_.str();
  EXPECT_TRUE(std::filesystem::exists(folder + "/maps/inside.png"));
  std::filesystem::remove_all(folder);
}

TEST_F(Cli, EveryCommandHasASummaryAndAnExample) {
  for (const char* verb : {"train", "attack", "explain"}) {
    EXPECT_EQ(Run({verb, "--help"}), 0);
    EXPECT_THAT(out_.str(), HasSubstr("Example"));
    EXPECT_THAT(out_.str(), HasSubstr(std::string("Usage: adamant ") + verb));
  }
  EXPECT_EQ(Run({"help", "exit-codes"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("130"));
}

TEST(ResourceId, IsSmallLettersDigitsAndDashes) {
  EXPECT_TRUE(IsResourceId("mnist-lenet5-adv"));
  for (const char* text : {"", "mnist_cnn", "5net", "Net", "a/b"}) {
    EXPECT_FALSE(IsResourceId(text)) << text;
  }
}

}  // namespace
}  // namespace adamant
